"""The domain of an extraction."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Bounds = Sequence[float | Sequence[float]]
"""Lower and upper corner of the box: a number for every axis, or one number per axis."""


@dataclass(frozen=True)
class Box:
    """An axis-aligned box: ``lower`` and ``upper`` corner, ``[d]`` each."""

    lower: Float[Tensor, "d"]
    upper: Float[Tensor, "d"]

    @property
    def dimension(self) -> int:
        """Dimension of the space the box lies in."""
        return len(self.lower)
