"""Proofs that the zero set is somewhere else, so that its surroundings alone are subdivided.

Between two layers each region has one affine map to the next pre-activations, and what the rest
of the network makes of it can be bounded. A region whose bounds have one sign has no zero in it,
and none of its parts will ever have one. Dropping it loses nothing:

* A region that does hold a zero is never dropped. All its vertices, edges and 2-faces are kept,
  and later neurons cut them exactly as they would in the whole complex.
* Where dropped regions meet kept ones, 2-faces with only some of their edges remain. Such a face
  lies in no kept region. If two of its edges are left and cut, the edge between them is a true one
  of the complex; if one is, the face is passed over.

So what remains at the end is part of the true skeleton, and has all cells of the zero set.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.subdivision import bounds, regions
from shapeopt.networks.affine import AffineLayer


class Pruning(NamedTuple):
    """From what size on leaving out regions takes less time than it saves.

    Attributes:
        min_vertices: a complex of fewer is subdivided faster than its regions are bounded.
        min_growth: since the last time; of a complex that has hardly grown little can go.
        min_layers: with fewer hidden layers to come, a region will not be cut often enough.
    """

    min_vertices: int
    min_growth: float
    min_layers: int

    def pays(self, num_vertices: int, num_kept: int, hidden_layers_left: int) -> bool:
        """Whether to leave out regions now, given the vertices that the last time has left."""
        is_large = num_vertices >= max(self.min_vertices, self.min_growth * num_kept)
        return is_large and hidden_layers_left >= self.min_layers


PRUNING = Pruning(min_vertices=1 << 13, min_growth=2.0, min_layers=2)


def edges_near_zero_set(
    layers: Sequence[AffineLayer],
    done: int,
    skeleton: Skeleton,
    values: Float[Tensor, "v width"],
    ulps: int,
    *,
    compiled: bool,
) -> Bool[Tensor, "e"]:
    """Edges of the regions that may hold a zero of the output.

    Args:
        layers: all of the network's layers, with one output.
        done: number of layers that have been cut; at least one, and not all hidden ones.
        skeleton: of the complex of those layers, or what earlier calls left of it.
        values: of the next layer at its vertices.
        ulps: that count as rounding.
        compiled: with the compiled kernels, on a CPU.
    """
    find, bound = regions.find_regions, bounds.may_hold_zero
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.subdivision.bounds_compiled import may_hold_zero as bound
        from shapeopt.extraction.subdivision.regions_compiled import find_regions as find
    found = find(skeleton)
    # The last entry is for the -1 that stands for no region.
    is_near = torch.zeros(len(found) + 1, dtype=torch.bool, device=values.device)
    whole = found.are_whole(skeleton.constraints.dimension)
    is_near[:-1] = bound(layers[done:], found, whole, values, ulps)
    near = is_near[found.around[0].long()]
    for side in found.around[1:]:
        near |= is_near[side.long()]
    return near
