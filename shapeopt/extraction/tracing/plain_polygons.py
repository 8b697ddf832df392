"""3D: the polygon of the zero set in a region is walked round, corner by corner.

                 l2
            ----*------           * corner of the lines l1 and l2
               /
          l1  /     inside        the walk keeps the inside to its left

Along a line the walk goes up to the first other line whose sign changes there. That does not depend
on how it came onto the line, so all lines of all polygons are asked at once, and a walk is a chain
of answers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.extraction.tolerances import LONGEST_CORRECTION
from shapeopt.extraction.tracing.plain_lines import NearLines
from shapeopt.extraction.tracing.zero_cells import Outlines
from shapeopt.mesh.ragged import places_of


class _Lines(NamedTuple):
    """The lines of polygons, and where the walk goes from each.

    Attributes:
        start: the line of each polygon that is nearest to its base point.
        following: the first line that the walk along each one meets.
        is_within: whether it does so within reach.
        numbers: direction of the walk along each line, its shift, and where it meets the next one.
    """

    start: Int64[Tensor, "n 1"]
    following: Int64[Tensor, "n near"]
    is_within: Bool[Tensor, "n near"]
    numbers: Float[Tensor, "n near 5"]


def walk(near: NearLines) -> Outlines:
    """Walks round each polygon, from the foot point on its nearest line.

    A polygon is open, with no corners, if the walk leaves the reach or does not come back. A GPU is
    waited for once.
    """
    lines = _lines(near)
    path = _paths(lines)
    counts = (path[:, 1:] == lines.start).byte().argmax(dim=1) + 1
    # 1 where a walk stays where it starts, and where it never comes back: all are equal then.
    is_closed = counts > 2
    counts *= is_closed
    num_corners, num_closed = torch.stack([counts.sum(), is_closed.sum()]).tolist()

    is_corner = torch.arange(path.shape[1], device=path.device) < counts[:, None]
    place = places_of(is_corner.flatten(), num_corners)
    rows, steps = place // path.shape[1], place % path.shape[1]
    before, line = path[rows, steps], path[:, 1:][rows, steps]
    planar = _corners(lines.numbers[rows, before], lines.numbers[rows, line])
    first, second = near.frame[:2, rows]
    corners = torch.addcmul(near.base[rows], planar[:, :1], first).addcmul_(planar[:, 1:], second)
    constraints, num_open = near.constraints[rows, line], len(counts) - num_closed
    return Outlines(counts, near.slopes, constraints, corners, num_open)


def _lines(near: NearLines) -> _Lines:
    value, slope_s, slope_t, shift = near.lines
    squared = torch.addcmul(slope_s.square(), slope_t, slope_t)
    # Rounding may put the base outside, and then the line that it is furthest outside of is right.
    distance = (value / squared.sqrt()).masked_fill_(squared == 0, torch.inf)
    start = distance.argmin(dim=1, keepdim=True)

    # Of the base on each line (first index), what the other ones (second index) are there.
    back = -value / squared
    foot_s, foot_t = slope_s * back, slope_t * back
    there = torch.addcmul(value[:, None], foot_s[:, :, None], slope_s[:, None])
    there.addcmul_(foot_t[:, :, None], slope_t[:, None])
    # A difference of equal products: of two lines, exactly one falls along the other.
    product = slope_s[:, :, None] * slope_t[:, None]
    falling = product - product.transpose(1, 2)
    way, following = there.div_(falling).masked_fill_(falling <= 0, torch.inf).min(dim=2)

    # Along (slope_t, -slope_s) the inside is to the left.
    back = -slope_s
    at_s, at_t = torch.addcmul(foot_s, way, slope_t), torch.addcmul(foot_t, way, back)
    is_within = torch.addcmul(at_s.square(), at_t, at_t) < near.reach[:, None]
    numbers = torch.stack([slope_t, back, shift, at_s, at_t], dim=2)
    return _Lines(start, following, is_within, numbers)


def _paths(lines: _Lines) -> Int64[Tensor, "n steps"]:
    """The lines of each walk, one after the other; it stays on one that leaves the reach.

    Twice as many steps are one step of the steps so far.
    """
    own = torch.arange(lines.following.shape[1], device=lines.following.device)
    jump = torch.where(lines.is_within, lines.following, own)
    path = lines.start
    while path.shape[1] <= len(own):
        path = torch.cat([path, jump.gather(1, path)], dim=1)
        jump = jump.gather(1, jump)
    return path


def _corners(one: Float[Tensor, "m 5"], two: Float[Tensor, "m 5"]) -> Float[Tensor, "m 2"]:
    """Where the first lines end at the second ones, with the shifts of both taken away.

    A corner stays where the lines are parallel up to rounding.
    """
    along_one, along_two = one[:, :2], two[:, :2]
    determinant = along_one[:, :1] * along_two[:, 1:] - along_one[:, 1:] * along_two[:, :1]
    step = (one[:, 2:3] * along_two).addcmul_(two[:, 2:3], along_one, value=-1).div_(determinant)
    is_short = step.abs().amax(dim=1, keepdim=True) < LONGEST_CORRECTION
    return one[:, 3:] + torch.where(is_short, step, torch.zeros_like(step))
