"""What counts as rounding, in one place."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shapeopt.extraction.no_zero import NoZero
from shapeopt.extraction.progress import Inconsistent
from shapeopt.networks.affine import AffineLayer

Result = TypeVar("Result")

ROUNDING_ULPS = 16
"""Values below this many ulps of the neuron's size are rounding, and count as +."""

SHARE_OF_TERMS = 1 / 8
"""A neuron's size is its largest value, and at least this part of the largest sum of its absolute
terms: where terms cancel, as in a residual connection, its values are the rounding of them."""

MORE_ROUNDING_ULPS = (2**12, 2**20)
"""The same where that does not give a consistent complex: many folds through one point, seen from
crossings at small angles, have values there that rounding is amplified in."""


def consistently(make: Callable[[int], Result]) -> Result:
    """What ``make`` makes of a number of ulps that count as rounding: the least that does.

    Raises:
        ExtractionError: if none does, or if one that does leaves no surface at all: what is there
            with less rounding is there.
        NoZero: if there is none with the least.
    """
    failed: list[Inconsistent] = []
    for ulps in (ROUNDING_ULPS, *MORE_ROUNDING_ULPS):
        try:
            return make(ulps)
        except Inconsistent as error:
            failed.append(error)
        except NoZero:
            if not failed:
                raise
            break
    raise failed[0]


def neuron_sizes(
    layer: AffineLayer, inputs: Float[Tensor, "in"], values: Float[Tensor, "out"]
) -> Float[Tensor, "out"]:
    """What the rounding of a layer's values is relative to, given the largest absolute values of
    its inputs and of the neurons themselves."""
    terms = layer.weight.abs() @ inputs + layer.bias.abs()
    return torch.maximum(values, SHARE_OF_TERMS * terms)


def rounding_threshold(
    sizes: Float[Tensor, "width"],
    is_linear: Bool[Tensor, "width"] | None = None,
    ulps: int = ROUNDING_ULPS,
) -> Float[Tensor, "width"]:
    """Values above minus this count as +, given each neuron's size.

    Those of linear neurons always do.
    """
    threshold = ulps * torch.finfo(sizes.dtype).eps * sizes
    return threshold if is_linear is None else threshold.masked_fill(is_linear, torch.inf)


MARGIN_ULPS = 64
"""The sign of a vertex that holds by fewer ulps of the neuron's size is decided by walking."""


LONGEST_CORRECTION = 1e-6
"""Where taking the shifts away would move a corner further, its lines coincide up to rounding."""


SHORTEST_EDGE = 2.0**-34
"""Edges shorter than this, in units of the box, are contracted: their ends are one point."""


FLATTEST_FOLD = 2.0**-36
"""Gradients that differ by less than this part of their size are the same: f does not bend."""


LEAST_TURN = 2.0**-16
"""Edges along which the same two planes meet and that turn by less, in radians, are one."""


CERTAIN_ASPECT = 1e-3
"""A polygon whose area is at least this part of its longest edge squared is told by its area, if"""
CERTAIN_LENGTH = 1e-6
"""that edge is longer than this, in units of the box. What is thinner is told by its region."""
