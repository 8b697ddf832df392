"""Cells of the zero set in plain torch: the oracle, and what runs on GPUs and in 2D.

In each region the zero set is a convex polygon (in 2D a segment), which follows from the region's
signs alone. With the signs fixed the network is affine, so f = 0 is a plane and every other neuron
is a line in it. The lines nearest to a point of the polygon are enough to bound it: a polygon all
of whose corners are nearer than the nearest line left out is exact, any other is done again with
all lines.

Signs are those of subdivision: values at rounding level count as +. For a neuron of value n that
is ``n >= -shift``, later neurons having the larger shift, so that coinciding folds (duplicated or
axis-aligned neurons) lie next to each other in a fixed order, as they do after subdivision.

``compiled.py``, with its ``kernels.py``, is the twin for 3D on a CPU: it must find the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.differentiate import gradient_where, inverse_of
from shapeopt.complex.signs import (
    Constraints,
    active_neurons,
    bit_positions,
    flipped,
    pack,
    zobrist_keys,
)
from shapeopt.complex.simplices import Simplices
from shapeopt.errors import ExtractionError
from shapeopt.extraction.tolerances import MARGIN_ULPS, ROUNDING_ULPS
from shapeopt.extraction.tracing import equal_keys
from shapeopt.extraction.tracing.equal_keys import Distinct
from shapeopt.extraction.tracing.plain_lines import NearLines, frame_of, nearest
from shapeopt.extraction.tracing.plain_polygons import walk
from shapeopt.extraction.tracing.plain_segments import segment_ends
from shapeopt.extraction.tracing.seen_cells import SeenCells
from shapeopt.extraction.tracing.zero_cells import Outlines, ZeroCells
from shapeopt.mesh.ragged import offsets_of, owners_of, places_of
from shapeopt.networks.affine import AffineLayer, evaluate, linear_neurons

NEAREST_LINES = 16
"""Lines a polygon is first tried with; polygons have 4 corners on average."""

MORE_LINES = 64
"""Lines it is tried with next, before all."""

CHUNK_NUMBERS = 2**17
"""Regions times constraints whose maps a CPU computes at once: they stay in its cache."""

CHUNK_NUMBERS_OF_DEVICE = 2**22
"""The same for another device, where it bounds the memory."""

CHUNK_PAIRS = 2**24
"""Regions times pairs of lines that are looked at at once."""

BLOCK = 2**15
"""Regions whose cells are computed at once: it bounds the memory."""


_EPS = torch.finfo(torch.float64).eps


class Scale(NamedTuple):
    """What rounding is measured by, in float64.

    Attributes:
        size: the typical largest size of each constraint's values in the box.
        shift: a value of at least minus this is +.
    """

    size: Float64[Tensor, "constraints"]
    shift: Float64[Tensor, "constraints"]

    @staticmethod
    def of(layers: Sequence[AffineLayer], box: Box, sizes: Float64[Tensor, "hidden"]) -> "Scale":
        """The scale of a network in a box, given its hidden neurons' sizes."""
        sides = (box.upper - box.lower).repeat_interleave(2)
        size = torch.cat([sizes, sides[:1], sides])
        order = torch.arange(1, len(sizes) + 1, device=sizes.device)
        shift = ROUNDING_ULPS * _EPS * order * sizes
        shift = torch.nn.functional.pad(shift, (0, 1 + 2 * box.dimension))
        # Linear neurons are + everywhere: far on that side of every line, whatever their values.
        linear = linear_neurons(layers)
        if linear is not None:
            shift[linear] = torch.inf
            size[linear] = -torch.inf
        return Scale(size, shift)


class Solved(NamedTuple):
    """Where the zeros of vertices meet.

    Attributes:
        positions: where that is.
        holds: whether the vertices' other signs hold there, by a safe margin.
        rows: the gradients of the zeros.
        outputs: what the hidden neurons pass on there; without columns if that was not wanted.
    """

    positions: Float64[Tensor, "v d"]
    holds: Bool[Tensor, "v"]
    rows: Float64[Tensor, "v d d"]
    outputs: Float[Tensor, "v hidden"]


class ZeroCellSolver:
    """Finds cells from sign patterns, and vertices from their zeros; in plain torch.

    Args:
        layers: affine layers without graph, in float64.
        box: the domain, in float64 and on the same device.
        scale: what rounding is measured by.
    """

    is_compiled = False

    def __init__(self, layers: Sequence[AffineLayer], box: Box, scale: Scale):
        self.layers = layers
        self.box = box
        encoding = layers[0].encoding
        self.simplices = None if encoding is None else Simplices(encoding)
        self.constraints = Constraints(tuple(len(layer.bias) for layer in layers), box.dimension)
        device = box.lower.device
        self.keys = zobrist_keys(self.constraints, device)
        self.bits = bit_positions(self.constraints, device)
        self.num_hidden = self.constraints.output
        numbers = CHUNK_NUMBERS if device.type == "cpu" else CHUNK_NUMBERS_OF_DEVICE
        self.chunk = max(numbers // self.constraints.num_constraints, 1)
        self.size, self.shift = scale
        self.linear = linear_neurons(layers)

    def plus_bits_at(self, points: Float[Tensor, "n d"]) -> Int32[Tensor, "n words"]:
        """Packed + signs of the regions that points of the zero set lie in; f counts as 0."""
        values, packed = self.layers[0].inputs(points), []
        shifts = self.shift[: self.num_hidden].split(self.constraints.widths[:-1])
        for layer, shift in zip(self.layers, shifts, strict=False):
            values = layer.values(values)
            packed.append(pack(values >= -shift))
            values = layer.activated(values)
        packed.append(torch.zeros(len(points), 1, dtype=torch.int32, device=points.device))
        if self.simplices is not None:
            packed.append(self.simplices.column_at(points))
        return torch.cat(packed, dim=1)

    def evaluate(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """f at points."""
        return torch.cat([evaluate(self.layers, some)[:, 0] for some in points.split(self.chunk)])

    def distinct(self, keys: Int64[Tensor, "n"]) -> Distinct:
        """The distinct ones among keys of cells."""
        return equal_keys.distinct(keys)

    def seen(self, known: Int64[Tensor, "k"]) -> SeenCells:
        """For the fronts of a trace, with the keys of cells that it need not visit."""
        return SeenCells(known)

    def follow(
        self,
        plus_bits: Int32[Tensor, "n words"],
        points: Float[Tensor, "n d"],
        known: Int64[Tensor, "k"],
    ) -> ZeroCells | None:
        """See :func:`shapeopt.extraction.tracing.trace.follow`; None if it should be done there,
        front by front."""
        return None

    def in_order(self, cells: ZeroCells) -> ZeroCells:
        """See :meth:`ZeroCells.in_order`."""
        return cells.in_order()

    def retained(
        self,
        cells: ZeroCells,
        corner: Int64[Tensor, "m"],
        holds: Bool[Tensor, "v"],
        positions: Float[Tensor, "v d"],
    ) -> tuple[ZeroCells, Int32[Tensor, "k words"], Float[Tensor, "k d"]]:
        """See :meth:`ZeroCells.retained`."""
        return cells.retained(corner, holds, positions)

    def cell_keys(self, plus_bits: Int32[Tensor, "n words"]) -> Int64[Tensor, "n"]:
        """Cell keys of the cells in the regions with the given signs."""
        output = torch.full((len(plus_bits), 1), self.constraints.output, device=plus_bits.device)
        if self.simplices is None:
            return self.keys.of_cells(plus_bits, output, self.constraints)
        of_signs = self.keys.of_cells(plus_bits[:, :-1], output, self.constraints)
        return of_signs + self.simplices.keys(plus_bits)

    def turning_to_zero(self, cells: ZeroCells) -> Int64[Tensor, "m"]:
        """What a cell's key changes by on each of its facets, where a sign becomes 0."""
        constraints = cells.facet_constraints
        plus = torch.where(cells.is_plus, self.keys.plus[constraints], 0)
        if self.simplices is None:
            return self.keys.zero[constraints] - plus
        is_neuron = constraints < self.constraints.num_neurons
        of_neurons = torch.where(is_neuron, self.keys.zero[constraints] - plus, 0)
        return of_neurons + self.simplices.turns(*self._sides(cells))

    def keys_behind(self, cells: ZeroCells) -> Int64[Tensor, "m"]:
        """The key of the cell behind each facet; at the border that of the cell itself."""
        turned = self.keys.plus[cells.facet_constraints]
        keys = cells.keys[cells.facet_cells] + torch.where(cells.is_plus, -turned, turned)
        if self.simplices is None:
            return keys
        here, sides = self._sides(cells)
        there = self.simplices.behind(here, sides)
        return keys + (self.simplices.keys(there) - self.simplices.keys(here))

    def across(
        self, cells: ZeroCells, facets: Int64[Tensor, "n"]
    ) -> tuple[Int32[Tensor, "n words"], Float[Tensor, "n d"]]:
        """The packed + signs of the regions behind facets, and a point inside each facet."""
        here, crossed = cells.plus_bits[cells.facet_cells[facets]], cells.facet_constraints[facets]
        there = flipped(here, crossed, self.constraints)
        if self.simplices is not None:
            there = self.simplices.behind(there, crossed - self.constraints.num_neurons)
        return there, cells.middles(facets)

    def is_inner(self, cells: ZeroCells, facets: Int64[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Whether facets have a region behind them."""
        crossed = cells.facet_constraints[facets]
        is_neuron = crossed < self.constraints.output
        if self.simplices is None:
            return is_neuron
        here = cells.plus_bits[cells.facet_cells[facets]]
        sides = crossed - self.constraints.num_neurons
        return is_neuron | ~self.simplices.is_at_border(here, sides)

    def _sides(self, cells: ZeroCells) -> tuple[Int32[Tensor, "m words"], Int64[Tensor, "m"]]:
        """For each facet its cell's signs, and its number among the sides of the simplex."""
        sides = cells.facet_constraints - self.constraints.num_neurons
        return cells.plus_bits[cells.facet_cells], sides

    def with_output(self, zeros: Int64[Tensor, "n k"]) -> Int[Tensor, "n k_plus_1"]:
        """The zeros of a cell of the zero set that lies on the given constraints."""
        with_output = torch.nn.functional.pad(zeros, (0, 1), value=self.constraints.output)
        return with_output.to(self.constraints.index_dtype)

    @torch.no_grad()
    def solve(self, plus_bits: Int32[Tensor, "n words"], base: Float[Tensor, "n d"]) -> ZeroCells:
        """The cells in the regions with the given signs, each from a point of it or its border.

        Raises:
            ExtractionError: for a region in which the zero set is not bounded by lines.
        """
        find = self._polygons if self.box.dimension == 3 else self._segments
        blocks = zip(plus_bits.split(BLOCK), base.split(BLOCK), strict=True)
        parts = [self._cells(block, find(block, points)) for block, points in blocks]
        return parts[0] if len(parts) == 1 else ZeroCells.concatenate(parts)

    def _cells(self, plus_bits: Int32[Tensor, "n words"], outlines: Outlines) -> ZeroCells:
        if outlines.num_open:
            raise does_not_close()
        counts, slopes, constraints, corners, _, is_plus = outlines
        offsets = offsets_of(counts)
        if is_plus is None:
            words = plus_bits[owners_of(offsets, len(corners)), self.bits.words[constraints]]
            is_plus = (words & self.bits.bits[constraints]) != 0
        keys = self.cell_keys(plus_bits)
        return ZeroCells(keys, plus_bits, slopes, offsets, constraints, is_plus, corners)

    def _polygons(
        self, plus_bits: Int32[Tensor, "n words"], base: Float[Tensor, "n 3"]
    ) -> Outlines:
        """3D: the polygon in each region, from a point of it.

        Trying a few lines first saves numbers, and costs a GPU another round for what stays open.
        """
        every = self.constraints.num_constraints
        few = base.device.type == "cpu" or len(base) * every**2 > CHUNK_PAIRS
        found = walk(self._near_lines(plus_bits, base, NEAREST_LINES if few else every))
        for count in (MORE_LINES, every):
            if few and found.num_open:
                open_ = places_of(found.counts == 0, found.num_open)
                for rows in open_.split(max(CHUNK_PAIRS // count**2, 1)):
                    near = self._near_lines(plus_bits[rows], base[rows], count)
                    found = found.completed_by(walk(near), rows)
        return found

    def _segments(
        self, plus_bits: Int32[Tensor, "n words"], base: Float[Tensor, "n 2"]
    ) -> Outlines:
        """2D: the segment in each region, from a point of it."""
        return segment_ends(self._near_lines(plus_bits, base, self.constraints.num_constraints))

    def _near_lines(
        self, plus_bits: Int32[Tensor, "n words"], base: Float[Tensor, "n d"], count: int
    ) -> NearLines:
        """The lines nearest to the base point in the plane of each region."""
        chunks = zip(plus_bits.split(self.chunk), base.split(self.chunk), strict=True)
        parts = [self._near_lines_of_chunk(some, points, count) for some, points in chunks]
        return parts[0] if len(parts) == 1 else NearLines.concatenate(parts)

    def _near_lines_of_chunk(
        self, plus_bits: Int32[Tensor, "n words"], base: Float[Tensor, "n d"], count: int
    ) -> NearLines:
        masks = active_neurons(plus_bits, self.constraints, base.dtype)
        gradient = gradient_where(self.layers, reversed(masks)).expand(len(base), -1)
        maps = None if self.simplices is None else self.simplices.maps(plus_bits, base)
        if maps is not None:
            gradient = (maps[0][1:] * gradient).sum(dim=2).T
        frame = frame_of(gradient)
        lines = self._lines(masks, base, frame[:-1], maps)
        off_plane = lines[0, :, self.num_hidden] / gradient.norm(dim=1)
        base = torch.addcmul(base, off_plane[:, None], frame[-1], value=-1)
        # f is no line in its own plane: a constant.
        lines[0, :, self.num_hidden], lines[1:, :, self.num_hidden] = 1, 0
        if self.linear is not None:
            lines[0, :, self.linear], lines[1:, :, self.linear] = 1, 0

        near, reach = nearest(lines, count)
        sign = self._signs(masks, len(base))
        shift = self.shift * sign
        lines *= sign
        lines[0].add_(shift)
        lines = torch.cat([lines, shift[None]])
        if count < lines.shape[2]:
            lines = lines.gather(2, near.expand(len(lines), -1, -1))
        return NearLines(lines, frame, base, near, reach, gradient)

    def _lines(
        self,
        masks: Sequence[Tensor],
        base: Float[Tensor, "n d"],
        directions: Float[Tensor, "k n d"],
        maps: tuple[Tensor, Tensor] | None,
    ) -> Float[Tensor, "k_plus_1 n constraints"]:
        """Every constraint's value at the base point, and its slopes along the directions.

        Args:
            masks: 1 for each + neuron and 0 for the others, ``[n, width]`` for each hidden layer.
            maps: of an encoded network, see :meth:`Simplices.maps`.
        """
        rows, count = len(directions) + 1, len(base)
        lines = base.new_empty(rows * count, self.constraints.num_constraints)
        if maps is None:
            state = torch.cat([base[None], directions])
        else:
            state, sides = (_along(directions, part) for part in maps)
        state = state.view(rows * count, state.shape[2])
        first = 0
        for layer, mask in zip(self.layers, [*masks, None], strict=True):
            values = lines[:, first : first + len(layer.bias)]
            torch.mm(state, layer.weight.T, out=values)
            values[:count].add_(layer.bias)
            if mask is not None:
                state = (values.view(rows, count, len(layer.bias)) * mask).flatten(0, 1)
            first += len(layer.bias)
        lines = lines.view(rows, count, lines.shape[1])
        if maps is not None:
            lines[:, :, first:] = sides
            return lines
        torch.sub(base, self.box.lower, out=lines[0, :, first::2])
        torch.sub(self.box.upper, base, out=lines[0, :, first + 1 :: 2])
        lines[1:, :, first::2] = directions
        torch.neg(directions, out=lines[1:, :, first + 1 :: 2])
        return lines

    def _signs(
        self, masks: Sequence[Float[Tensor, "n _"]], count: int
    ) -> Float[Tensor, "n constraints"]:
        """1 for + and -1 for -, of all constraints; f and box planes are +."""
        others = self.size.new_ones(count, 1 + 2 * self.box.dimension)
        return torch.cat([*masks, others], dim=1).mul_(2).sub_(1)

    @torch.no_grad()
    def solve_vertices(
        self,
        vertices: Float[Tensor, "v d"],
        zeros: Int64[Tensor, "v d"],
        plus_bits: Int32[Tensor, "v words"],
        outputs_in: torch.dtype | None = None,
    ) -> Solved:
        """Where the zeros of vertices meet, from points near there.

        Args:
            vertices: the points.
            zeros: the d constraints that are to be 0.
            plus_bits: packed + signs of each vertex.
            outputs_in: dtype of the outputs, if they are wanted and the implementation knows them:
                it is the compiled one, of a network without encoding.
        """
        given = vertices, zeros, plus_bits
        chunks = zip(*(part.split(self.chunk) for part in given), strict=True)
        parts = [self._solve_chunk(*chunk) for chunk in chunks]
        if len(parts) == 1:
            return parts[0]
        return Solved(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _solve_chunk(
        self,
        vertices: Float[Tensor, "v d"],
        zeros: Int64[Tensor, "v d"],
        plus_bits: Int32[Tensor, "v words"],
    ) -> Solved:
        d = vertices.shape[1]
        masks = active_neurons(plus_bits, self.constraints, vertices.dtype)
        axes = torch.eye(d, dtype=vertices.dtype, device=vertices.device)
        axes = axes[:, None, :].expand(-1, len(vertices), -1)
        maps = None if self.simplices is None else self.simplices.maps(plus_bits, vertices)
        lines = self._lines(masks, vertices, axes, maps)
        at_zero = lines.gather(2, zeros.expand(d + 1, -1, -1))
        rows = at_zero[1:].permute(1, 2, 0)
        inverse = inverse_of(rows)
        step = -(inverse @ at_zero[0][:, :, None]).squeeze(2)
        # Within the region of the signs, every constraint is affine.
        values = lines[0]
        for slope, part in zip(lines[1:], step.unbind(1), strict=True):
            values.addcmul_(slope, part[:, None])
        # Column k of the inverse by row k: 1 / sine of the angle of fold k to the others' meet.
        sharpness = (inverse.square().sum(dim=1) * rows.square().sum(dim=2)).amax(dim=1)
        margin = MARGIN_ULPS * _EPS * (1 + sharpness.sqrt())
        holds = values.mul_(self._signs(masks, len(values))) > margin[:, None] * self.size
        holds = holds.scatter_(1, zeros, True).all(dim=1) & (sharpness < 1 / _EPS)
        return Solved(vertices + step, holds, rows, rows.new_empty(len(rows), 0))


def does_not_close() -> ExtractionError:
    return ExtractionError(
        "a polygon of the zero set does not close: folds of the network coincide, or f is "
        "constant on a region at its zero set. extract_surface(method='subdivide') handles such "
        "networks"
    )


def _along(
    directions: Float[Tensor, "k n 3"], maps: Float[Tensor, "4 n m"]
) -> Float[Tensor, "k_plus_1 n m"]:
    """Values and their slopes along directions, from those along the axes."""
    return torch.cat([maps[:1], torch.einsum("knd,dnm->knm", directions, maps[1:])])
