"""Cells of the zero set: in each region a convex polygon (in 2D a segment), from its signs alone.

With the signs fixed the network is affine, so f = 0 is a plane and every other neuron is a line in
it. The lines nearest to a point of the polygon are enough to bound it: a polygon all of whose
corners are nearer than the nearest line left out is exact, any other is done again with all lines.
It is walked corner by corner: along a line, up to the first other line whose sign changes.

                 l2
            ----*------           * corner of the lines l1 and l2
               /
          l1  /     inside        the walk keeps the inside to its left

Signs are those of subdivision: values at rounding level count as +. For a neuron of value n that
is ``n >= -shift``, later neurons having the larger shift, so that coinciding folds (duplicated or
axis-aligned neurons) lie next to each other in a fixed order, as they do after subdivision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.differentiate import inverse_of
from shapeopt.complex.signs import WORD_BITS, Constraints, ZobristKeys, pack
from shapeopt.errors import ExtractionError
from shapeopt.extraction.tolerances import LONGEST_CORRECTION, MARGIN_ULPS, ROUNDING_ULPS
from shapeopt.extraction.tracing.zero_cells import Outlines, ZeroCells
from shapeopt.networks.affine import AffineLayer

NEAREST_LINES = 16
"""Lines a polygon is first tried with; polygons have 4 corners on average."""

CHUNK_NUMBERS = 2**17
"""Regions times constraints whose maps are computed at once: they stay in the processor's cache."""

BLOCK = 2**15
"""Regions whose pieces are computed at once: it bounds the memory."""


_EPS = torch.finfo(torch.float64).eps


@dataclass
class _Corners:
    """Corners of polygons in the order they were found, which is round by round over all of them.

    Attributes:
        counts: corners of each polygon; 0 for one that did not close.
        rows, steps: the polygon of each corner, and its place in it.
        lines: the line along which the edge from the corner on runs.
        corners: positions.
    """

    counts: Int64[Tensor, "n"]
    rows: Int64[Tensor, "m"]
    steps: Int64[Tensor, "m"]
    lines: Int64[Tensor, "m"]
    corners: Float[Tensor, "m d"]

    def completed_by(self, others: "_Corners", at: Int64[Tensor, "k"]) -> "_Corners":
        """The same with the polygons at the given rows, so far open, from the others."""
        return _Corners(
            self.counts.index_copy(0, at, others.counts),
            torch.cat([self.rows, at[others.rows]]),
            torch.cat([self.steps, others.steps]),
            torch.cat([self.lines, others.lines]),
            torch.cat([self.corners, others.corners]),
        )

    def in_order(self) -> Outlines:
        """Polygon by polygon."""
        starts = self.counts.cumsum(0) - self.counts
        order = torch.empty_like(self.rows)
        order[starts[self.rows] + self.steps] = torch.arange(len(order), device=order.device)
        return self.counts, self.lines[order], self.corners[order]


@dataclass
class _NearLines:
    """Where the nearest constraints are 0 in the plane of each piece.

    In coordinates (s, t) along the plane's directions, from the base point, a constraint is 0 where
    ``value + slope_s s + slope_t t = 0``, and positive inside the piece.

    Attributes:
        lines: value, slopes, and the part of the value that is shift.
        frame: unit directions in the plane, and its unit normal.
        base: the base points, moved onto the plane.
        index: number of each line.
        reach: squared distance from the base point within which no line is missing.
    """

    lines: Float[Tensor, "d_plus_1 n near"]
    frame: Float[Tensor, "d n d"]
    base: Float[Tensor, "n d"]
    index: Int64[Tensor, "n near"]
    reach: Float[Tensor, "n"]


class ZeroCellSolver:
    """Finds pieces from sign patterns, and vertices from their zeros; in plain torch.

    Args:
        layers: affine layers without graph, in float64.
        box: the domain, in float64 and on the same device.
        scale: typical largest size of each hidden neuron's values in the box: what rounding is
            measured by.
    """

    def __init__(self, layers: Sequence[AffineLayer], box: Box, scale: Float[Tensor, "hidden"]):
        self.layers = layers
        self.box = box
        self.constraints = Constraints(tuple(len(layer.bias) for layer in layers), box.dimension)
        device = box.lower.device
        self.keys = _zobrist_keys(self.constraints, device)
        self.num_hidden = self.constraints.output
        self.chunk = max(CHUNK_NUMBERS // self.constraints.num_constraints, 1)
        sides = (box.upper - box.lower).repeat_interleave(2)
        self.size = torch.cat([scale.to(sides.dtype), sides[:1], sides])
        order = torch.arange(1, self.num_hidden + 1, device=device)
        shift = ROUNDING_ULPS * _EPS * order * scale
        self.shift = torch.nn.functional.pad(shift, (0, 1 + 2 * box.dimension))
        self._word, self._bit = _bit_positions(self.constraints, device)
        octets = torch.arange(256, dtype=torch.uint8, device=device)
        self._octet_bits = (octets[:, None] >> octets[:8]) & 1
        self._octet_bits = self._octet_bits.to(box.lower.dtype)

    @torch.no_grad()
    def solve_vertices(
        self,
        vertices: Float[Tensor, "v d"],
        zeros: Int64[Tensor, "v d"],
        signs: Int32[Tensor, "v words"],
    ) -> tuple[Float[Tensor, "v d"], Bool[Tensor, "v"], Float[Tensor, "v d d"]]:
        """Where the zeros of vertices meet, whether their other signs hold there by a safe margin,
        and the gradients of the zeros.

        Args:
            vertices: points near the ones wanted.
            zeros: the d constraints that are to be 0.
            signs: packed + signs of each vertex.
        """
        chunks = zip(*(part.split(self.chunk) for part in (vertices, zeros, signs)), strict=True)
        parts = zip(*(self._solve_chunk(*chunk) for chunk in chunks), strict=True)
        positions, holds, rows = (torch.cat(part) for part in parts)
        return positions, holds, rows

    def _solve_chunk(
        self,
        vertices: Float[Tensor, "v d"],
        zeros: Int64[Tensor, "v d"],
        signs: Int32[Tensor, "v words"],
    ) -> tuple[Float[Tensor, "v d"], Bool[Tensor, "v"], Float[Tensor, "v d d"]]:
        d = vertices.shape[1]
        masks = self.masks(signs)
        axes = torch.eye(d, dtype=vertices.dtype, device=vertices.device)
        lines = self.lines(masks, vertices, axes[:, None, :].expand(-1, len(vertices), -1))
        active = lines.gather(2, zeros.expand(d + 1, -1, -1))
        rows = active[1:].permute(1, 2, 0)
        inverse = inverse_of(rows)
        step = -(inverse @ active[0][:, :, None]).squeeze(2)
        # Within the region of the signs, every constraint is affine.
        values = lines[0]
        for slope, part in zip(lines[1:], step.unbind(1), strict=True):
            values.addcmul_(slope, part[:, None])
        # Column k of the inverse by row k: 1 / sine of the angle of fold k to the others' meet.
        sharpness = (inverse.square().sum(dim=1) * rows.square().sum(dim=2)).amax(dim=1)
        margin = MARGIN_ULPS * _EPS * (1 + sharpness.sqrt())
        holds = self._signs_hold(values, masks, margin[:, None])
        holds = holds.scatter_(1, zeros, True).all(dim=1) & (sharpness < 1 / _EPS)
        return vertices + step, holds, rows

    def _signs_hold(
        self,
        values: Float[Tensor, "n constraints"],
        masks: Sequence[Tensor],
        margin: Float[Tensor, "n 1"],
    ) -> Bool[Tensor, "n constraints"]:
        """Where hidden neurons have the signs of the masks and box planes +, by a safe margin.

        The margin is in parts of the constraint's typical size; f is left out, and holds.
        """
        signs = [2 * mask - 1 for mask in masks]
        holds = torch.ones_like(values, dtype=torch.bool)
        least = margin * self.size
        hidden = values[:, : self.num_hidden] * torch.cat([*signs, values[:, :0]], dim=1)
        holds[:, : self.num_hidden] = hidden > least[:, : self.num_hidden]
        planes = slice(self.num_hidden + 1, None)
        holds[:, planes] = values[:, planes] > least[:, planes]
        return holds

    def patterns(self, points: Float[Tensor, "n d"]) -> Int32[Tensor, "n words"]:
        """Packed + signs of the regions that points of the zero set lie in; f counts as 0."""
        values, packed = points, []
        shifts = self.shift[: self.num_hidden].split(self.constraints.widths[:-1])
        for layer, shift in zip(self.layers, shifts, strict=False):
            values = torch.addmm(layer.bias, values, layer.weight.T)
            packed.append(pack(values >= -shift))
            values = values.relu_()
        packed.append(torch.zeros(len(points), 1, dtype=torch.int32, device=points.device))
        return torch.cat(packed, dim=1)

    def flipped(
        self, signs: Int32[Tensor, "n words"], neurons: Int64[Tensor, "n"]
    ) -> Int32[Tensor, "n words"]:
        """The signs with that of one neuron per row turned."""
        signs = signs.clone()
        rows = torch.arange(len(signs), device=signs.device)
        signs[rows, self._word[neurons]] ^= self._bit[neurons]
        return signs

    def cell_keys(self, signs: Int32[Tensor, "n words"]) -> Int64[Tensor, "n"]:
        """Cell keys of the pieces in the regions with the given signs."""
        output = torch.full((len(signs), 1), self.constraints.output, device=signs.device)
        return self.keys.of_cells(signs, output, self.constraints)

    def turning_to_zero(
        self, facets: Int64[Tensor, "m"], is_plus: Bool[Tensor, "m"]
    ) -> Int64[Tensor, "m"]:
        """What a cell's key changes by when the sign of a constraint becomes 0."""
        return self.keys.zero[facets] - torch.where(is_plus, self.keys.plus[facets], 0)

    def without(
        self, signs: Int32[Tensor, "n words"], constraints: Int64[Tensor, "n k"]
    ) -> Int32[Tensor, "n words"]:
        """The packed signs with none of the given constraints +."""
        signs = signs.clone()
        rows = torch.arange(len(signs), device=signs.device)
        for column in constraints.unbind(1):
            signs[rows, self._word[column]] &= ~self._bit[column]
        return signs

    def with_output(self, lines: Int64[Tensor, "n k"]) -> Int[Tensor, "n k_plus_1"]:
        """The zeros of a cell of the zero set that lies on the given constraints."""
        dtype = self.constraints.index_dtype
        zeros = lines.new_full((len(lines), lines.shape[1] + 1), self.constraints.output)
        zeros[:, :-1] = lines
        return zeros.to(dtype)

    @torch.no_grad()
    def solve(self, signs: Int32[Tensor, "n words"], base: Float[Tensor, "n d"]) -> ZeroCells:
        """The pieces in the regions with the given signs, each from a point of it or its border.

        Raises:
            ExtractionError: for a region in which the zero set is not bounded by lines.
        """
        find = self._polygons if self.box.dimension == 3 else self._segments
        blocks = zip(signs.split(BLOCK), base.split(BLOCK), strict=True)
        parts = [self._pieces(block, find(block, points)) for block, points in blocks]
        return parts[0] if len(parts) == 1 else ZeroCells.concatenate(parts)

    def _pieces(self, signs: Int32[Tensor, "n words"], outlines: Outlines) -> ZeroCells:
        counts, facets, corners = outlines
        if bool((counts == 0).any()):
            raise ExtractionError(
                "a polygon of the zero set does not close: folds of the network coincide, or f is "
                "constant on a region at its zero set. extract_surface(method='subdivide') "
                "handles such networks"
            )
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        pieces = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        is_plus = (signs[pieces, self._word[facets]] & self._bit[facets]) != 0
        return ZeroCells(self.cell_keys(signs), signs, offsets, facets, is_plus, corners)

    def _polygons(self, signs: Int32[Tensor, "n words"], base: Float[Tensor, "n 3"]) -> Outlines:
        """The polygons in the regions with the given signs, each from a point of it."""
        found = self._walk_polygons(signs, base, NEAREST_LINES)
        open_ = torch.nonzero(found.counts == 0).flatten()
        for rows in open_.split(self.chunk) if len(open_) else ():
            again = self._walk_polygons(signs[rows], base[rows], self.constraints.num_constraints)
            found = found.completed_by(again, rows)
        return found.in_order()

    def _walk_polygons(
        self, signs: Int32[Tensor, "n words"], base: Float[Tensor, "n 3"], num_lines: int
    ) -> _Corners:
        """Corners of the polygons that the given number of lines nearest to the base closes."""
        near = self._near_lines(signs, base, num_lines)
        counts, rows, steps, local, planar = _walk(near.lines, near.reach)
        base, frame = near.base[rows], near.frame[:, rows]
        corners = base + planar[0][:, None] * frame[0] + planar[1][:, None] * frame[1]
        return _Corners(counts, rows, steps, near.index[rows, local], corners)

    def _segments(self, signs: Int32[Tensor, "n words"], base: Float[Tensor, "n 2"]) -> Outlines:
        """Both ends of the segment in each region."""
        near = self._near_lines(signs, base, self.constraints.num_constraints)
        value, slope, offset = near.lines
        distance = value.clamp(min=0) / slope.abs()
        row = torch.arange(len(signs), device=signs.device)
        lines, ends = [], []
        is_closed = torch.ones_like(row, dtype=torch.bool)
        for side in (-1, 1):
            way, line = torch.where(slope * side < 0, distance, torch.inf).min(dim=1)
            is_closed &= torch.isfinite(way)
            place = (offset[row, line] - value[row, line]) / slope[row, line]
            lines.append(line)
            ends.append(near.base + place[:, None] * near.frame[0])
        counts = 2 * is_closed.long()
        return counts, torch.stack(lines, dim=1).flatten(), torch.stack(ends, dim=1).flatten(0, 1)

    def _near_lines(
        self, signs: Int32[Tensor, "n words"], base: Float[Tensor, "n d"], count: int
    ) -> _NearLines:
        """The lines nearest to the base point in the plane of each piece."""
        chunks = zip(signs.split(self.chunk), base.split(self.chunk), strict=True)
        parts = [self._near_lines_of_chunk(some, points, count) for some, points in chunks]
        lines, frames, bases, indices, reaches = zip(*parts, strict=True)
        return _NearLines(
            torch.cat(lines, dim=1),
            torch.cat(frames, dim=1),
            torch.cat(bases),
            torch.cat(indices),
            torch.cat(reaches),
        )

    def _near_lines_of_chunk(
        self, signs: Int32[Tensor, "n words"], base: Float[Tensor, "n d"], count: int
    ) -> tuple[Tensor, ...]:
        masks = self.masks(signs)
        gradient = self._gradient(masks)
        frame = _frame(gradient)
        lines = self.lines(masks, base, frame[:-1])
        off_plane = lines[0, :, self.num_hidden] / gradient.norm(dim=1)
        base = torch.addcmul(base, off_plane[:, None], frame[-1], value=-1)
        # f is no line in its own plane: a constant.
        lines[0, :, self.num_hidden], lines[1:, :, self.num_hidden] = 1, 0

        # Which lines are near needs no more than float32; where they run does.
        value, *slopes = lines.to(torch.float32)
        squared = slopes[0].square_()
        for slope in slopes[1:]:
            squared.addcmul_(slope, slope)
        index, reach = _smallest(value.square_().div_(squared), count)
        lines = lines.gather(2, index.expand(len(lines), -1, -1))
        # Box planes are + without having a bit.
        is_plus = (signs.gather(1, self._word[index]) & self._bit[index]) != 0
        sign = torch.where(is_plus | (index > self.num_hidden), 1.0, -1.0).to(lines.dtype)
        offset = self.shift[index] * sign
        lines *= sign
        lines[0] += offset
        return torch.cat([lines, offset[None]]), frame, base, index, reach

    def masks(self, signs: Int32[Tensor, "n words"]) -> list[Tensor]:
        """1 for each + neuron and 0 for the others, ``[n, width]`` for each hidden layer."""
        octets = signs.view(torch.uint8).view(-1).int()
        bits = self._octet_bits.index_select(0, octets).view(len(signs), WORD_BITS * signs.shape[1])
        widths = self.constraints.widths[:-1]
        starts = [WORD_BITS * self.constraints.words(i).start for i in range(len(widths))]
        return [bits[:, start : start + width] for start, width in zip(starts, widths, strict=True)]

    def _gradient(self, masks: Sequence[Tensor]) -> Float[Tensor, "n d"]:
        """Gradient of f in each region."""
        *hidden, last = self.layers
        gradient = last.weight
        for layer, mask in zip(reversed(hidden), reversed(masks), strict=True):
            gradient = (gradient * mask) @ layer.weight
        return gradient

    def lines(
        self,
        masks: Sequence[Tensor],
        base: Float[Tensor, "n d"],
        directions: Float[Tensor, "k n d"],
    ) -> Float[Tensor, "k_plus_1 n constraints"]:
        """Every constraint's value at the base point, and its slopes along the directions."""
        *hidden, last = self.layers
        rows, count = len(directions) + 1, len(base)
        lines = base.new_empty(rows * count, self.constraints.num_constraints)
        state = torch.cat([base[None], directions]).view(rows * count, self.box.dimension)
        first = 0
        for layer, mask in zip(hidden, masks, strict=True):
            values = lines[:, first : first + len(layer.bias)]
            torch.mm(state, layer.weight.T, out=values)
            values[:count] += layer.bias
            state = (values.view(rows, count, len(layer.bias)) * mask).flatten(0, 1)
            first += len(layer.bias)
        lines[:, first] = torch.mv(state, last.weight[0])
        lines[:count, first] += last.bias
        lines = lines.view(rows, count, lines.shape[1])
        lines[0, :, first + 1 :: 2] = base - self.box.lower
        lines[0, :, first + 2 :: 2] = self.box.upper - base
        lines[1:, :, first + 1 :: 2] = directions
        lines[1:, :, first + 2 :: 2] = -directions
        return lines


def _frame(gradient: Float[Tensor, "n d"]) -> Float[Tensor, "d n d"]:
    """Orthonormal directions at right angles to each vector, then its own; right-handed."""
    normal = torch.nn.functional.normalize(gradient, dim=1)
    if gradient.shape[1] == 2:
        return torch.stack([torch.stack([normal[:, 1], -normal[:, 0]], dim=1), normal])
    axis = normal.abs().argmin(dim=1, keepdim=True)
    unit = torch.zeros_like(normal).scatter_(1, axis, 1)
    first = torch.nn.functional.normalize(torch.linalg.cross(normal, unit, dim=1), dim=1)
    return torch.stack([first, torch.linalg.cross(normal, first, dim=1), normal])


def _smallest(
    squared: Float32[Tensor, "n lines"], count: int
) -> tuple[Int64[Tensor, "n near"], Float[Tensor, "n"]]:
    """Columns of the ``count`` smallest numbers of each row, and a lower bound of all others.

    The numbers, which are not negative, are rounded down to the bits that the column index leaves
    in an int32: sorting those is five times faster than ``topk`` on a CPU.
    """
    rows, columns = squared.shape
    if count >= columns:
        every = torch.arange(columns, device=squared.device).expand(rows, -1)
        return every, torch.full((rows,), torch.inf, dtype=torch.float64, device=squared.device)
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


def _walk(
    lines: Float[Tensor, "4 n near"], reach: Float[Tensor, "n"]
) -> tuple[
    Int64[Tensor, "n"],
    Int64[Tensor, "m"],
    Int64[Tensor, "m"],
    Int64[Tensor, "m"],
    Float[Tensor, "2 m"],
]:
    """Walks round each polygon, from the foot point on its nearest line.

    Args:
        lines: as in :class:`_NearLines`.
        reach: squared distance within which no line is missing.

    Returns:
        The number of corners of each polygon, 0 where the walk leaves the reach or does not come
        back; and for each corner found its polygon, its place in it, the line of the edge that
        starts there and its coordinates.
    """
    size = lines[1].square() + lines[2].square()
    # Rounding may put the base outside, and then the line that it is furthest outside of is right.
    distance = torch.where(size > 0, lines[0] / size.sqrt(), torch.inf)
    current = distance.argmin(dim=1, keepdim=True)
    start, previous = current, current
    on = lines.gather(2, current.expand(4, -1, -1)).squeeze(2)
    at = on[1:3] * (-on[0] / size.gather(1, current).squeeze(1))
    rows = torch.arange(lines.shape[1], device=lines.device)
    counts = torch.zeros_like(rows)
    found = []
    for step in range(lines.shape[2]):
        value, slope_s, slope_t, _ = lines
        there = torch.addcmul(value, slope_s, at[0][:, None]).addcmul_(slope_t, at[1][:, None])
        # Along the line the inside is to the left.
        falling = (slope_t * on[1][:, None]).addcmul_(slope_s, on[2][:, None], value=-1)
        way = torch.where(falling > 0, there.div_(falling), torch.inf)
        way.scatter_(1, current, torch.inf).scatter_(1, previous, torch.inf)
        forward, line = way.clamp(min=0).min(dim=1)
        # The base may lie past the corner by its own rounding: the first corner is exact for it.
        way = way.gather(1, line[:, None]).squeeze(1) if step == 0 else forward
        at = torch.stack(
            [torch.addcmul(at[0], way, on[2]), torch.addcmul(at[1], way, on[1], value=-1)]
        )
        previous, current = current, line[:, None]
        after = lines.gather(2, current.expand(4, -1, -1)).squeeze(2)
        found.append((rows, torch.full_like(rows, step), line, at + _without_shift(on, after)))
        inside = at.square().sum(dim=0) < reach
        is_back = line == start[:, 0]
        counts[rows[is_back & inside]] = step + 1
        going = torch.nonzero(inside & ~is_back).flatten()
        if len(going) == 0:
            break
        on = after
        if len(going) < len(rows):
            rows, reach, at, on = rows[going], reach[going], at[:, going], on[:, going]
            start, current, previous = start[going], current[going], previous[going]
            lines = lines[:, going]
    row, place, line, at = (torch.cat(part, dim=-1) for part in zip(*found, strict=True))
    closed = torch.nonzero(counts[row] > 0).flatten()
    return counts, row[closed], place[closed], line[closed], at[:, closed]


def _without_shift(one: Float[Tensor, "4 n"], two: Float[Tensor, "4 n"]) -> Float[Tensor, "2 n"]:
    """How far the corner of two lines moves when their shifts are taken away.

    It stays where the lines are parallel up to rounding.
    """
    determinant = one[1] * two[2] - one[2] * two[1]
    step = torch.stack([one[3] * two[2] - two[3] * one[2], two[3] * one[1] - one[3] * two[1]])
    step /= determinant
    return torch.where(step.abs().amax(dim=0) < LONGEST_CORRECTION, step, 0)


@lru_cache(maxsize=8)
def _zobrist_keys(constraints: Constraints, device: torch.device) -> ZobristKeys:
    """Made once per architecture: it takes as long as a small step of tracing."""
    return ZobristKeys(constraints, device)


def _bit_positions(
    constraints: Constraints, device: torch.device
) -> tuple[Int64[Tensor, "constraints"], Int32[Tensor, "constraints"]]:
    """The word and the bit of each constraint in packed signs; box planes have no bit."""
    words, bits = [], []
    for layer, width in enumerate(constraints.widths):
        position = torch.arange(width)
        words.append(constraints.words(layer).start + position // WORD_BITS)
        bits.append((1 << position % WORD_BITS).to(torch.int32))
    planes = torch.zeros(2 * constraints.dimension, dtype=torch.int64)
    word = torch.cat([*words, planes]).to(device)
    return word, torch.cat([*bits, planes.to(torch.int32)]).to(device)
