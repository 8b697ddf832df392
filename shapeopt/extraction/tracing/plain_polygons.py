"""3D: the polygon of the zero set in a region is walked round, corner by corner.

                 l2
            ----*------           * corner of the lines l1 and l2
               /
          l1  /     inside        the walk keeps the inside to its left

From a corner it goes along a line, up to the first other line whose sign changes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.extraction.tolerances import LONGEST_CORRECTION
from shapeopt.extraction.tracing.plain_lines import NearLines
from shapeopt.extraction.tracing.zero_cells import Outlines
from shapeopt.mesh.ragged import offsets_of


@dataclass
class Corners:
    """Corners of polygons in the order they were found, which is round by round over all of them.

    Attributes:
        counts: corners of each polygon; 0 for one that did not close.
        rows, steps: the polygon of each corner, and its place in it.
        constraints: the constraint of the edge from the corner on.
        corners: positions.
    """

    counts: Int64[Tensor, "n"]
    rows: Int64[Tensor, "m"]
    steps: Int64[Tensor, "m"]
    constraints: Int64[Tensor, "m"]
    corners: Float[Tensor, "m 3"]

    def completed_by(self, others: "Corners", at: Int64[Tensor, "k"]) -> "Corners":
        """The same with the polygons at the given rows, so far open, from the others."""
        return Corners(
            self.counts.index_copy(0, at, others.counts),
            torch.cat([self.rows, at[others.rows]]),
            torch.cat([self.steps, others.steps]),
            torch.cat([self.constraints, others.constraints]),
            torch.cat([self.corners, others.corners]),
        )

    def in_order(self) -> Outlines:
        """Polygon by polygon."""
        starts = offsets_of(self.counts)
        order = torch.empty_like(self.rows)
        order[starts[self.rows] + self.steps] = torch.arange(len(order), device=order.device)
        return Outlines(self.counts, self.constraints[order], self.corners[order])


@dataclass
class _Walkers:
    """Walks that are under way, each on one line of its polygon.

    Attributes:
        rows: the polygon of each.
        lines: the lines of its polygon, as in :class:`NearLines`.
        reach: as there.
        start, previous, current: the lines that it started on, came from and is on.
        on: the numbers of the current line.
        at: where it is.
    """

    rows: Int64[Tensor, "w"]
    lines: Float[Tensor, "4 w near"]
    reach: Float[Tensor, "w"]
    start: Int64[Tensor, "w 1"]
    previous: Int64[Tensor, "w 1"]
    current: Int64[Tensor, "w 1"]
    on: Float[Tensor, "4 w"]
    at: Float[Tensor, "2 w"]

    def where(self, going: Int64[Tensor, "k"]) -> "_Walkers":
        """Those that go on."""
        return _Walkers(
            self.rows[going],
            self.lines[:, going],
            self.reach[going],
            self.start[going],
            self.previous[going],
            self.current[going],
            self.on[:, going],
            self.at[:, going],
        )

    def step(self, is_first: bool) -> tuple[Int64[Tensor, "w"], Float[Tensor, "2 w"]]:
        """Goes on to the next corner of each, and turns into the line that it is on.

        Returns:
            The next lines, and their corners with the shifts taken away.
        """
        value, slope_s, slope_t, _ = self.lines
        s, t = self.at
        there = torch.addcmul(value, slope_s, s[:, None]).addcmul_(slope_t, t[:, None])
        # Along the line the inside is to the left.
        falling = (slope_t * self.on[1][:, None]).addcmul_(slope_s, self.on[2][:, None], value=-1)
        way = torch.where(falling > 0, there.div_(falling), torch.inf)
        way.scatter_(1, self.current, torch.inf).scatter_(1, self.previous, torch.inf)
        forward, line = way.clamp(min=0).min(dim=1)
        # The base may lie past the corner by its own rounding: the first corner is exact for it.
        way = way.gather(1, line[:, None]).squeeze(1) if is_first else forward
        self.at = torch.stack(
            [torch.addcmul(s, way, self.on[2]), torch.addcmul(t, way, self.on[1], value=-1)]
        )
        self.previous, self.current = self.current, line[:, None]
        before, self.on = self.on, _numbers_of(self.lines, self.current)
        return line, self.at + _without_shift(before, self.on)


def walk(near: NearLines) -> Corners:
    """Walks round each polygon, from the foot point on its nearest line.

    A polygon is open, with no corners, if the walk leaves the reach or does not come back.
    """
    walkers = _start(near)
    counts = torch.zeros_like(walkers.rows)
    found = []
    for step in range(near.lines.shape[2]):
        line, corner = walkers.step(is_first=step == 0)
        found.append((walkers.rows, torch.full_like(walkers.rows, step), line, corner))
        inside = walkers.at.square().sum(dim=0) < walkers.reach
        is_back = line == walkers.start[:, 0]
        counts[walkers.rows[is_back & inside]] = step + 1
        going = torch.nonzero(inside & ~is_back).flatten()
        if len(going) == 0:
            break
        if len(going) < len(line):
            walkers = walkers.where(going)
    rows, steps, lines, planar = (torch.cat(part, dim=-1) for part in zip(*found, strict=True))
    closed = torch.nonzero(counts[rows] > 0).flatten()
    rows, steps, lines, planar = rows[closed], steps[closed], lines[closed], planar[:, closed]
    base, frame = near.base[rows], near.frame[:, rows]
    corners = base + planar[0][:, None] * frame[0] + planar[1][:, None] * frame[1]
    return Corners(counts, rows, steps, near.constraints[rows, lines], corners)


def _start(near: NearLines) -> _Walkers:
    """At the foot points of the base points on their nearest lines."""
    lines = near.lines
    size = lines[1].square() + lines[2].square()
    # Rounding may put the base outside, and then the line that it is furthest outside of is right.
    distance = torch.where(size > 0, lines[0] / size.sqrt(), torch.inf)
    current = distance.argmin(dim=1, keepdim=True)
    on = _numbers_of(lines, current)
    at = on[1:3] * (-on[0] / size.gather(1, current).squeeze(1))
    rows = torch.arange(lines.shape[1], device=lines.device)
    return _Walkers(rows, lines, near.reach, current, current, current, on, at)


def _numbers_of(
    lines: Float[Tensor, "4 n near"], chosen: Int64[Tensor, "n 1"]
) -> Float[Tensor, "4 n"]:
    return lines.gather(2, chosen.expand(4, -1, -1)).squeeze(2)


def _without_shift(one: Float[Tensor, "4 n"], two: Float[Tensor, "4 n"]) -> Float[Tensor, "2 n"]:
    """How far the corner of two lines moves when their shifts are taken away.

    It stays where the lines are parallel up to rounding.
    """
    determinant = one[1] * two[2] - one[2] * two[1]
    step = torch.stack([one[3] * two[2] - two[3] * one[2], two[3] * one[1] - one[3] * two[1]])
    step /= determinant
    return torch.where(step.abs().amax(dim=0) < LONGEST_CORRECTION, step, 0)
