"""The lines nearest to a point of the plane f = 0 (in 2D: points on the line f = 0)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor


@dataclass
class NearLines:
    """Where the nearest constraints are 0 in the plane f = 0 of each region.

    In coordinates (s, t) along the plane's directions, from the base point, a constraint is 0 where
    ``value + slope_s s + slope_t t = 0``, and positive inside the region.

    Attributes:
        lines: value, slopes, and the part of the value that is shift.
        frame: unit directions in the plane, and its unit normal.
        base: the base points, moved onto the plane.
        constraints: which constraint each line is of.
        reach: squared distance from the base point within which no line is missing.
        slopes: the gradient of f.
    """

    lines: Float[Tensor, "d_plus_1 n near"]
    frame: Float[Tensor, "d n d"]
    base: Float[Tensor, "n d"]
    constraints: Int64[Tensor, "n near"]
    reach: Float[Tensor, "n"]
    slopes: Float[Tensor, "n d"]

    @staticmethod
    def concatenate(parts: "Sequence[NearLines]") -> "NearLines":
        """All regions of the parts."""
        return NearLines(
            torch.cat([part.lines for part in parts], dim=1),
            torch.cat([part.frame for part in parts], dim=1),
            torch.cat([part.base for part in parts]),
            torch.cat([part.constraints for part in parts]),
            torch.cat([part.reach for part in parts]),
            torch.cat([part.slopes for part in parts]),
        )


def frame_of(gradient: Float[Tensor, "n d"]) -> Float[Tensor, "d n d"]:
    """Orthonormal directions at right angles to each vector, then its own; right-handed."""
    normal = torch.nn.functional.normalize(gradient, dim=1)
    if gradient.shape[1] == 2:
        return torch.stack([torch.stack([normal[:, 1], -normal[:, 0]], dim=1), normal])
    axis = normal.abs().argmin(dim=1, keepdim=True)
    unit = torch.zeros_like(normal).scatter_(1, axis, 1)
    first = torch.nn.functional.normalize(torch.linalg.cross(normal, unit, dim=1), dim=1)
    return torch.stack([first, torch.linalg.cross(normal, first, dim=1), normal])


def nearest(
    lines: Float[Tensor, "d n constraints"], count: int
) -> tuple[Int64[Tensor, "n near"], Float[Tensor, "n"]]:
    """The ``count`` lines nearest to each base point, and how far no other line comes, squared.

    Args:
        lines: value and slopes of each constraint in the plane.
        count: if it is that of all constraints or more, they stay in their order.
    """
    if count >= lines.shape[2]:
        every = torch.arange(lines.shape[2], device=lines.device).expand(lines.shape[1], -1)
        return every, lines.new_full((lines.shape[1],), torch.inf)
    # Which lines are near needs no more than float32; where they run does.
    value, *slopes = lines.to(torch.float32)
    squared = slopes[0].square_()
    for slope in slopes[1:]:
        squared.addcmul_(slope, slope)
    return _smallest(value.square_().div_(squared), count)


def _smallest(
    squared: Float32[Tensor, "n lines"], count: int
) -> tuple[Int64[Tensor, "n near"], Float[Tensor, "n"]]:
    """Columns of the ``count`` smallest numbers of each row, and a lower bound of all others.

    The numbers, which are not negative, are rounded down to the bits that the column index leaves
    in an int32: sorting those is five times faster than ``topk`` on a CPU.
    """
    columns = squared.shape[1]
    index_mask = (1 << (columns - 1).bit_length()) - 1
    # Without its sign a NaN (0 / 0, a line that is 0 everywhere) comes after all numbers.
    packed = squared.view(torch.int32) & (0x7FFFFFFF ^ index_mask)
    packed |= torch.arange(columns, dtype=torch.int32, device=packed.device)
    if packed.is_cuda:
        smallest = torch.topk(packed, count + 1, dim=1, largest=False).values
    else:
        smallest = torch.from_numpy(np.sort(packed.numpy(), axis=1)[:, : count + 1])
    bound = (smallest[:, -1] & ~index_mask).view(torch.float32).double() * (1 - 1e-6)
    return (smallest[:, :-1] & index_mask).long(), bound.nan_to_num_(torch.inf, posinf=torch.inf)
