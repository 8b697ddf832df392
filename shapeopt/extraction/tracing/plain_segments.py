"""2D: the segment of the zero set in a region ends at the first line on either side."""

import torch
from torch import Tensor

from shapeopt.extraction.tracing.plain_lines import NearLines
from shapeopt.extraction.tracing.zero_cells import Outlines


def segment_ends(near: NearLines) -> Outlines:
    """Both ends of the segment in each region, from the places where all constraints are 0."""
    value, slope, shift = near.lines
    distance = value.clamp(min=0) / slope.abs()
    row = torch.arange(len(value), device=value.device)
    constraints: list[Tensor] = []
    ends: list[Tensor] = []
    is_closed = torch.ones_like(row, dtype=torch.bool)
    for side in (-1, 1):
        way, line = torch.where(slope * side < 0, distance, torch.inf).min(dim=1)
        is_closed &= torch.isfinite(way)
        place = (shift[row, line] - value[row, line]) / slope[row, line]
        constraints.append(near.constraints[row, line])
        ends.append(near.base + place[:, None] * near.frame[0])
    return Outlines(
        2 * is_closed.long(),
        near.slopes,
        torch.stack(constraints, dim=1).flatten(),
        torch.stack(ends, dim=1).flatten(0, 1),
        int((~is_closed).sum()),
    )
