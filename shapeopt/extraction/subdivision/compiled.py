"""Edge subdivision compiled for the CPU: the growing arrays, and which kernel runs on them when."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.signs import Constraints, num_words
from shapeopt.complex.skeleton import Skeleton, box_skeleton
from shapeopt.errors import ExtractionError
from shapeopt.extraction.compiled import PARTS, each_part, in_parts
from shapeopt.extraction.memory import Budget
from shapeopt.extraction.progress import Progress, inconsistent
from shapeopt.extraction.subdivision.kernels import (
    LISTS,
    SMALL_CUT,
    collect,
    cut_while_small,
    decide_signs,
    join,
    pair,
    pass_over_edges,
    split,
    table_size,
)
from shapeopt.extraction.tolerances import rounding_threshold
from shapeopt.networks.affine import AffineLayer

SMALL_PASS = 1 << 17
"""Passes over fewer rows are done in one part, for the same reason."""


CHUNK = 1 << 16
"""Vertices evaluated at a time."""


SMALL_ROWS = 1 << 17
"""Room for that many rows from the start."""


MAX_ROWS = 2**31 - 1
"""Vertices and edges are numbered in int32."""


class _Rows:
    """Rows appended in place.

    Small buffers double. A large one moves once, into all the address space that the budget
    allows: memory that is never written to costs nothing, and rows are never copied again.
    """

    RESERVE_AT = 1 << 26

    def __init__(self, rows: np.ndarray, budget: Budget):
        self.size = len(rows)
        self._budget = budget
        self._flat = rows.ravel().copy()
        self.set_shape(rows.shape[1:])

    def set_shape(self, shape: tuple[int, ...]) -> None:
        """Makes rows of this shape out of the buffer; what they hold is the caller's affair."""
        self._shape = shape
        self._width = int(np.prod(shape))
        capacity = len(self._flat) // self._width if self._width else MAX_ROWS
        self.rows = self._flat[: capacity * self._width].reshape(capacity, *shape)

    def reserve(self, size: int) -> None:
        """Makes room for ``size`` rows in all. Arrays taken before may be stale afterwards."""
        if size > len(self.rows):
            used = self.size * self._width
            flat = np.empty(self._capacity(size, self._width) * self._width, self._flat.dtype)
            flat[:used] = self._flat[:used]
            self._flat = flat
            self.set_shape(self._shape)

    def _capacity(self, size: int, width: int) -> int:
        row_bytes = width * self._flat.itemsize
        if 2 * size * row_bytes <= self.RESERVE_AT:
            return max(2 * size, SMALL_ROWS)
        return min(max(self._budget.reservable // row_bytes, size), MAX_ROWS)

    def change_width(self, width: int) -> np.ndarray:
        """Gives 1D rows another length. Returns the old rows, which share the memory."""
        used = self.size * self._width
        if self.size * width > len(self._flat):
            flat = np.empty(self._capacity(self.size, width) * width, self._flat.dtype)
            flat[:used] = self._flat[:used]
            self._flat = flat
        old = self._flat[:used].reshape(self.size, self._width)
        self.set_shape((width,))
        return old

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._width * self._flat.itemsize

    @property
    def data(self) -> np.ndarray:
        """The rows in use."""
        return self.rows[: self.size]

    def keep(self, chosen: np.ndarray) -> None:
        """Drops the other rows and moves the chosen ones together."""
        kept = self.data[chosen]
        self.size = len(kept)
        self.data[:] = kept

    def release(self) -> Tensor:
        """The rows as a tensor, with the unused end of the buffer given back."""
        flat = self._flat
        del self.rows, self._flat
        flat.resize(self.size * self._width, refcheck=False)
        return torch.from_numpy(flat.reshape(self.size, *self._shape))


class CompiledSubdivision:
    """The growing skeleton in numpy arrays; the interface is that of the torch one."""

    def __init__(self, constraints: Constraints, box: Box, budget: Budget):
        self.constraints = constraints
        self.budget = budget
        start = box_skeleton(constraints, box)
        self.keys = start.keys
        self.positions = self._rows(start.vertices)
        self.vertex_zeros = self._rows(start.vertex_zeros)
        self.signs = _Rows(start.vertex_plus_bits.numpy().view(np.uint32), budget)
        self.edges = self._rows(start.edges)
        self.edge_zeros = self._rows(start.edge_zeros)
        self.edge_base = self._rows(start.edge_keys)
        self.following = _Rows(np.empty(len(start.edges), np.int32), budget)
        self.values = self._rows(start.vertices)
        self.is_partial = False
        self._done = (0, 0, np.zeros((1, 256), np.int64))
        self._scratch: dict[str, np.ndarray] = {}

    def _rows(self, rows: Tensor) -> _Rows:
        return _Rows(rows.numpy(), self.budget)

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of vertices and edges."""
        return self.positions.size, self.edges.size

    def keep(self, edges: Bool[Tensor, "e"]) -> None:
        """Drops the other edges, and every vertex without one."""
        kept = edges.numpy()
        ends = self.edges.data
        vertices = np.zeros(self.positions.size, np.bool_)
        vertices[ends[kept]] = True
        ends[:] = (vertices.cumsum() - 1)[ends]
        for rows in (self.positions, self.vertex_zeros, self.signs, self.values):
            rows.keep(vertices)
        for rows in (self.edges, self.edge_zeros, self.edge_base):
            rows.keep(kept)
        self.is_partial = True

    def evaluate(self, layer: AffineLayer, is_first: bool) -> None:
        """Puts the layer's values at all vertices in the place of the previous layer's.

        In place and chunk by chunk: from the end if rows get longer, so that nothing is
        overwritten before it is read.
        """
        width, width_before = layer.weight.shape
        before = torch.from_numpy(self.values.change_width(width))
        after = torch.from_numpy(self.values.data)
        largest = torch.zeros(width, dtype=layer.weight.dtype)
        starts = range(0, len(before), CHUNK)
        for start in starts if width <= width_before else reversed(starts):
            chunk = slice(start, start + CHUNK)
            inputs = before[chunk]
            values = torch.addmm(layer.bias, inputs if is_first else inputs.relu(), layer.weight.T)
            largest = torch.maximum(largest, values.abs().amax(dim=0))
            after[chunk] = values
        self.threshold = rounding_threshold(largest).numpy()

    def cut_by_layer(self, layer: int, progress: Progress | None) -> None:
        """Cuts every edge by every neuron of the layer whose values were evaluated."""
        width = self.constraints.widths[layer]
        column, words = self.constraints.words(layer).start, num_words(width)
        self._layer = (self.constraints.first_neuron(layer), column, words)
        table = self.keys.tables[layer].numpy()
        self._keys = (self.keys.plus.numpy(), self.keys.zero.numpy(), table)
        self._queues = (
            np.full((PARTS, width), -1, np.int32),
            np.zeros((PARTS, width), np.int32),
        )
        self.following.reserve(self.edges.size)
        in_parts(
            decide_signs,
            self.positions.size,
            SMALL_PASS,
            self.values.rows,
            self.threshold,
            self.signs.rows,
            column,
        )
        self._pass_over_edges(column, words)
        neuron = 0
        while neuron < width:
            stop = width if progress is None else neuron + 1
            neuron = self._cut_while_small(layer, neuron, stop)
            if neuron < stop:
                self._cut(layer, neuron)
                neuron += 1
            if progress is not None:
                progress(layer, neuron - 1, self.positions.size)
        self._done = (column, words, table)

    def _pass_over_edges(self, column: int, words: int) -> None:
        in_parts(
            pass_over_edges,
            self.edges.size,
            SMALL_PASS,
            self.edges.rows,
            self.signs.rows,
            self._done,
            self.edge_base.rows,
            column,
            words,
            self._all_queues(),
        )
        self._done = (0, 0, self._done[2])

    def _cut_while_small(self, layer: int, neuron: int, stop: int) -> int:
        """Cuts by small cuts up to the neuron ``stop``; returns the neuron to go on with."""
        num_zeros = self.constraints.dimension - 1
        most = SMALL_CUT * num_zeros
        slots = table_size(most)
        scratch = (
            self._buffer("small cut", SMALL_CUT, np.int32),
            self._buffer("small keys", 2 * most, np.int64).reshape(SMALL_CUT, num_zeros, 2),
            self._buffer("small table", slots, np.int64),
            self._buffer("small slot", slots, np.int32),
            self._buffer("small pairs", 2 * most, np.int32).reshape(1, most, 2),
        )
        room = tuple(min(len(part.rows) for part in rows) for rows in self._of_vertex_and_edge())
        neuron, vertices, edges, is_consistent = cut_while_small(
            neuron,
            stop,
            self.sizes,
            (room, self._row_bytes(), self.budget.max_bytes),
            (*self._layer, self.constraints.num_neurons),
            self._keys,
            self._skeleton(),
            self.values.rows,
            self.threshold,
            self._all_queues(),
            scratch,
            self.is_partial,
        )
        if not is_consistent:
            raise inconsistent(layer)
        self._set_sizes(vertices, edges)
        return neuron

    def _cut(self, layer: int, neuron: int) -> None:
        """Cuts the queued edges by the neuron and joins the new vertices across the faces."""
        offsets = np.concatenate([[0], np.cumsum(self._queues[1][:, neuron])])
        count = int(offsets[-1])
        vertices, edges = self.sizes
        num_zeros = self.constraints.dimension - 1
        self._make_room(layer, neuron, count)
        parts = PARTS if count > SMALL_CUT else 1
        cut = self._buffer("cut", count, np.int32)
        groups = PARTS // LISTS
        each_part(collect, groups, parts > 1, offsets, neuron, self._all_queues(), cut)

        face_keys = self._buffer("face_keys", 2 * count * num_zeros, np.int64)
        face_keys = face_keys.reshape(count, num_zeros, 2)
        in_parts(
            split,
            count,
            SMALL_CUT,
            cut,
            neuron,
            vertices,
            edges,
            (*self._layer, self.constraints.num_neurons),
            self._keys,
            self._skeleton(),
            self.values.rows,
            self.threshold,
            self._all_queues(),
            face_keys,
        )
        self._set_sizes(vertices + count, edges + count)
        if num_zeros:
            self._join_across_faces(layer, neuron, count, parts, vertices, edges, face_keys)

    def _join_across_faces(
        self,
        layer: int,
        neuron: int,
        count: int,
        parts: int,
        first_vertex: int,
        first_edge: int,
        face_keys: np.ndarray,
    ) -> None:
        """Adds the new edge of every face that was cut in two edges."""
        most = count * face_keys.shape[1]
        slots = table_size(most // parts)
        table = self._buffer("table", parts * slots, np.int64)
        slot = self._buffer("slot", parts * slots, np.int32)
        pairs = self._buffer("pairs", parts * 2 * most, np.int32).reshape(parts, most, 2)
        found, unpaired = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
        each_part(
            pair,
            parts,
            parts > 1,
            parts,
            count,
            face_keys,
            table.reshape(parts, slots),
            slot.reshape(parts, slots),
            pairs,
            found,
            unpaired,
        )
        if (unpaired < 0).any() or (unpaired.any() and not self.is_partial):
            raise inconsistent(layer)
        offsets = self.edges.size + np.concatenate([[0], np.cumsum(found)])
        each_part(
            join,
            parts,
            parts > 1,
            offsets,
            pairs,
            neuron,
            first_vertex,
            first_edge,
            (*self._layer, self.constraints.num_neurons),
            self._keys,
            self._skeleton(),
            self._all_queues(),
        )
        self._set_sizes(first_vertex + count, int(offsets[-1]))

    def _skeleton(self) -> tuple[np.ndarray, ...]:
        rows = (
            self.positions,
            self.vertex_zeros,
            self.signs,
            self.edges,
            self.edge_zeros,
            self.edge_base,
        )
        return tuple(part.rows for part in rows)

    def _all_queues(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (*self._queues, self.following.rows)

    def _of_vertex_and_edge(self) -> tuple[list[_Rows], list[_Rows]]:
        """The arrays with a row per vertex, and those with a row per edge."""
        of_vertex = [self.positions, self.vertex_zeros, self.signs, self.values]
        return of_vertex, [self.edges, self.edge_zeros, self.edge_base, self.following]

    def _row_bytes(self) -> tuple[int, ...]:
        """Bytes held for each vertex, and for each edge."""
        return tuple(sum(part.row_bytes for part in rows) for rows in self._of_vertex_and_edge())

    def _make_room(self, layer: int, neuron: int, count: int) -> None:
        """Room for what cutting ``count`` edges can add: their halves, and an edge per face."""
        vertices, edges = self.sizes
        most_vertices = vertices + count
        most_edges = edges + count * self.constraints.dimension
        of_vertex, of_edge = self._of_vertex_and_edge()
        vertex_bytes, edge_bytes = self._row_bytes()
        needed = most_vertices * vertex_bytes + most_edges * edge_bytes
        self.budget.check(needed, layer, neuron, vertices, edges)
        if max(most_vertices, most_edges) > MAX_ROWS:
            raise ExtractionError(
                f"stopped at neuron {neuron} of layer {layer} with {vertices:,} vertices and "
                f"{edges:,} edges: cells are numbered in 32 bits, and more would not fit. "
                "Use a smaller box, or extract only the surface"
            )
        for rows in of_vertex:
            rows.reserve(most_vertices)
        for rows in of_edge:
            rows.reserve(most_edges)

    def _set_sizes(self, vertices: int, edges: int) -> None:
        of_vertex, of_edge = self._of_vertex_and_edge()
        for rows in of_vertex:
            rows.size = vertices
        for rows in of_edge:
            rows.size = edges

    def _buffer(self, name: str, size: int, dtype: type) -> np.ndarray:
        """Working memory that is kept from neuron to neuron: ``size`` elements of it."""
        if name not in self._scratch or len(self._scratch[name]) < size:
            self._scratch[name] = np.empty(size + size // 4, dtype)
        return self._scratch[name][:size]

    def skeleton(self) -> Skeleton:
        """The skeleton between two layers; it shares the memory."""
        self._pass_over_edges(0, 0)
        positions, zeros, signs, edges, edge_zeros, edge_keys = (
            torch.from_numpy(rows.data)
            for rows in (
                self.positions,
                self.vertex_zeros,
                self.signs,
                self.edges,
                self.edge_zeros,
                self.edge_base,
            )
        )
        signs = signs.view(torch.int32)
        return Skeleton(
            self.constraints, positions, zeros, signs, edges, edge_zeros, edge_keys, self.keys
        )

    def finish(self) -> Skeleton:
        """The finished skeleton, with the unused memory given back."""
        self._pass_over_edges(0, 0)
        del self.values, self.following
        self._scratch.clear()
        return Skeleton(
            self.constraints,
            self.positions.release(),
            self.vertex_zeros.release(),
            self.signs.release().view(torch.int32),
            self.edges.release(),
            self.edge_zeros.release(),
            self.edge_base.release(),
            self.keys,
        )
