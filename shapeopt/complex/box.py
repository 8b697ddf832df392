"""The domain of an extraction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.errors import InputError

Bounds = Sequence[float | Sequence[float]]
"""Lower and upper corner of the box: a number for every axis, or one number per axis."""


def dimension_of(bounds: Bounds | float | int) -> int | None:
    """The number of axes that the corners name; None if they are numbers for every axis."""
    try:
        sizes = {len(torch.as_tensor(corner)) for corner in bounds}  # type: ignore[union-attr]
    except (TypeError, ValueError, RuntimeError):
        return None
    return sizes.pop() if len(sizes) == 1 else None


@dataclass(frozen=True)
class Box:
    """An axis-aligned box: ``lower`` and ``upper`` corner, ``[d]`` each."""

    lower: Float[Tensor, "d"]
    upper: Float[Tensor, "d"]

    @classmethod
    def from_bounds(
        cls, bounds: Bounds | float | int, dimension: int, dtype: torch.dtype, device: torch.device
    ) -> "Box":
        """The box with the given corners.

        Raises:
            InputError: if they do not fit the dimension, or leave no room between them.
        """
        try:
            lower, upper = (torch.as_tensor(x, dtype=dtype, device="cpu") for x in bounds)  # type: ignore[union-attr]
            corners = torch.stack([lower.expand(dimension), upper.expand(dimension)])
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"bounds {bounds} do not fit a network with {dimension} inputs: give the lower "
                "and the upper corner, each a number for every axis or one number per axis"
            ) from error
        if not all(-math.inf < low < high < math.inf for low, high in corners.T.tolist()):
            raise InputError(
                f"bounds {bounds} are no box: each lower bound must be below its upper one"
            )
        return cls(*corners.to(device))

    @property
    def dimension(self) -> int:
        """Dimension of the space the box lies in."""
        return len(self.lower)

    def put_on_planes(
        self, vertices: Float[Tensor, "v d"], planes: Int[Tensor, "v k"]
    ) -> Float[Tensor, "v d"]:
        """Vertices that were solved for, with or without graph: those on planes of the box exactly
        so, where rounding had moved them off.

        Args:
            planes: that each lies on: 0 and 1 for the lower and the upper one of the first axis, 2
                and 3 of the second, and so on; below 0 for none.
        """
        vertex, place = (planes >= 0).nonzero(as_tuple=True)
        if len(vertex) == 0:
            return vertices
        plane = planes[vertex, place].long()
        bounds = torch.stack([self.lower, self.upper], dim=1).flatten()
        return vertices.index_put((vertex, plane // 2), bounds[plane])
