"""What counts as rounding, in one place."""

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDING_ULPS = 16
"""Values below this many ulps of the neuron's largest value are rounding, and count as +."""


def rounding_threshold(largest: Float[Tensor, "width"]) -> Float[Tensor, "width"]:
    """Values above minus this count as +, given each neuron's largest absolute value."""
    return ROUNDING_ULPS * torch.finfo(largest.dtype).eps * largest


MARGIN_ULPS = 64
"""The sign of a vertex that holds by fewer ulps of the neuron's size is decided by walking."""


LONGEST_CORRECTION = 1e-6
"""Where taking the shifts away would move a corner further, its lines coincide up to rounding."""


SHORTEST_EDGE = 2.0**-34
"""Edges shorter than this, in units of the box, are contracted: their ends are one point."""


CERTAIN_ASPECT = 1e-3
"""A polygon whose area is at least this part of its longest edge squared is told by its area, if"""
CERTAIN_LENGTH = 1e-6
"""that edge is longer than this, in units of the box. What is thinner is told by its region."""
