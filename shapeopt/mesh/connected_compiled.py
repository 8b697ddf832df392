"""What hangs together, compiled for the CPU."""

from typing import no_type_check

import numpy as np

from shapeopt.compiled import kernel, small_kernel


@kernel
@no_type_check
def first_connected(count, pairs):
    """For each of ``count`` things the first one that the pairs [n, 2] connect it to, or itself.

    By a forest in which every tree hangs on its first thing (Tarjan, *Efficiency of a good but not
    linear set union algorithm*, 1975, with paths halved on the way).
    """
    above = np.arange(count)
    for i in range(len(pairs)):
        one, two = _root(above, pairs[i, 0]), _root(above, pairs[i, 1])
        above[max(one, two)] = min(one, two)
    for thing in range(count):  # what is above comes earlier, and is a root already
        above[thing] = above[above[thing]]
    return above


@small_kernel
@no_type_check
def _root(above, thing):
    while above[thing] != thing:
        above[thing] = above[above[thing]]
        thing = above[thing]
    return thing
