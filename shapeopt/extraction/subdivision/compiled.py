"""Edge subdivision compiled for the CPU, the twin of ``plain.py``: the growing arrays, and which
kernel runs on them when."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from shapeopt.compiled import PARTS, each_part, in_parts
from shapeopt.complex.signs import num_words
from shapeopt.complex.skeleton import Skeleton
from shapeopt.errors import ExtractionError
from shapeopt.extraction.memory import Budget
from shapeopt.extraction.progress import Progress, inconsistent
from shapeopt.extraction.subdivision.kernels import (
    LISTS,
    Cut,
    Growing,
    Layer,
    Limits,
    Pairs,
    Queues,
    Scratch,
    Sizes,
    Words,
    collect,
    cut_while_small,
    decide_signs,
    ends_differ,
    gather_words,
    join,
    num_choices,
    num_slots,
    pair,
    pass_over_edges,
    renumber,
    split,
)
from shapeopt.extraction.subdivision.regions_compiled import HashedRegions, find_regions
from shapeopt.extraction.subdivision.rows import MAX_ROWS, GrowingRows
from shapeopt.extraction.subdivision.values_compiled import layer_values
from shapeopt.extraction.tolerances import neuron_sizes, rounding_threshold
from shapeopt.networks.affine import AffineLayer

SMALL_CUT = 4096
"""Cuts of up to so many edges are done in one part: handing work to threads would cost more."""

SMALL_PASS = 1 << 17
"""Passes over fewer rows are done in one part, for the same reason."""


class CompiledSubdivision:
    """The growing skeleton in numpy arrays, with the interface of
    :class:`~shapeopt.extraction.subdivision.plain.PlainSubdivision`, its oracle."""

    is_compiled = True

    def __init__(self, start: Skeleton, inputs: Float[Tensor, "v in"], budget: Budget, ulps: int):
        self.constraints = start.constraints
        self.budget = budget
        self.ulps = ulps
        self.keys = start.keys
        self.positions = self._rows(start.vertices)
        self.vertex_zeros = self._rows(start.vertex_zeros)
        self.plus_bits = self._rows(start.vertex_plus_bits.view(torch.uint32))
        self.values = self._rows(inputs)
        self.largest = inputs.abs().amax(dim=0)
        self.edges = self._rows(start.edges)
        self.edge_zeros = self._rows(start.edge_zeros)
        self.edge_base = self._rows(start.edge_keys)
        count = len(start.edges)
        self.following = GrowingRows(np.empty(count, np.int32), count, (), budget)
        self.is_partial = False
        self._no_words = Words(0, 0, np.zeros((1, 256), np.int64))
        self._not_in_keys = self._no_words
        self._buffers: dict[str, np.ndarray] = {}

    def _rows(self, rows: Tensor) -> GrowingRows:
        array = rows.numpy()
        return GrowingRows(array.ravel().copy(), len(array), array.shape[1:], self.budget)

    @property
    def sizes(self) -> Sizes:
        """Number of vertices and edges."""
        return Sizes(self.positions.size, self.edges.size)

    def values_at_work(self) -> Float[Tensor, "v width"]:
        """Of the layer at work, at the vertices so far; it shares the memory."""
        return torch.from_numpy(self.values.data)

    def edges_so_far(self) -> Int32[Tensor, "e 2"]:
        """The edges so far; it shares the memory."""
        return torch.from_numpy(self.edges.data)

    def cut_by_output(self) -> Bool[Tensor, "e"]:
        """Which edges the one neuron of the layer at work cuts."""
        is_plus = self.values.data[:, 0] >= -self.threshold
        return torch.from_numpy(ends_differ(self.edges.data, is_plus))

    def edges_in_planes(self) -> Bool[Tensor, "e"]:
        """Which edges lie in a box plane."""
        return torch.from_numpy((self.edge_zeros.data >= self.constraints.num_neurons).any(axis=1))

    def keep(self, edges: Bool[Tensor, "e"], *, faces_are_whole: bool) -> None:
        """As in :class:`~shapeopt.extraction.subdivision.plain.PlainSubdivision`."""
        kept = np.flatnonzero(edges.numpy())
        vertices = renumber(self.edges.data, kept, self.positions.size)
        for rows in (self.positions, self.vertex_zeros, self.plus_bits, self.values):
            rows.keep(vertices)
        for rows in (self.edges, self.edge_zeros, self.edge_base):
            rows.keep(kept)
        self.is_partial |= not faces_are_whole

    def evaluate(self, layers: Sequence[AffineLayer], index: int) -> None:
        """Puts a layer's values at all vertices in the place of those of the layer before."""
        layer, before = layers[index], self.values
        width = len(layer.bias)
        if before.data.shape[1] != width:
            beside = self.sizes.vertices * width * before.data.itemsize
            self.budget.check(self._bytes_of(self.sizes) + beside, index, 0, *self.sizes)
            self.values = before.of_width(width)
        layer_before = layers[index - 1] if index else None
        largest = layer_values(layer, layer_before, before.data, self.values.data)
        sizes = neuron_sizes(layer, self.largest, largest)
        self.threshold = rounding_threshold(sizes, layer.is_linear, self.ulps).numpy()
        self.largest = largest

    def cut_by_layer(self, layer: int, progress: Progress | None) -> None:
        """Cuts every edge by every neuron of the layer whose values were evaluated."""
        width = self.constraints.widths[layer]
        column = self.constraints.words(layer).start
        self._layer = Layer(
            self.constraints.first_neuron(layer),
            self.constraints.num_neurons,
            Words(column, num_words(width), self.keys.tables[layer].numpy()),
            self.threshold,
            self.keys.plus.numpy(),
            self.keys.zero.numpy(),
        )
        self._heads = np.full((PARTS * LISTS, width), -1, np.int32)
        self._counts = np.zeros((PARTS * LISTS, width), np.int32)
        self.following.reserve(self.edges.size)
        vertices = self.positions.size
        in_parts(decide_signs, vertices, SMALL_PASS, self._layer, self._growing())
        self._pass_over_edges(self._layer.words)
        neuron = 0
        while neuron < width:
            stop = width if progress is None else neuron + 1
            neuron = self._cut_while_small(layer, neuron, stop)
            if neuron < stop:
                self._cut(layer, neuron)
                neuron += 1
            if progress is not None:
                progress(layer, neuron - 1, self.positions.size)
        self._not_in_keys = self._layer.words

    def _pass_over_edges(self, words: Words) -> None:
        """Completes the edges' keys, and queues the edges that the layer of the words cuts."""
        done, growing = self._not_in_keys, self._growing()
        vertices, num_words = self.positions.size, done.num_words + words.num_words
        gathered = self._buffer("words", vertices * num_words, np.uint32)
        gathered = gathered.reshape(vertices, num_words)
        in_parts(gather_words, vertices, SMALL_PASS, done, words, growing, gathered)
        of_edges = done, words, gathered, growing, self._queues()
        in_parts(pass_over_edges, self.edges.size, SMALL_PASS, *of_edges)
        self._not_in_keys = self._no_words

    def _cut_while_small(self, layer: int, neuron: int, stop: int) -> int:
        """Cuts by small cuts up to the neuron ``stop``; returns the neuron to go on with."""
        num_zeros = self.constraints.dimension - 1
        edges = self._buffer("small edges", SMALL_CUT, np.int32)
        choices = num_choices(num_zeros)
        face_keys = self._buffer("small keys", SMALL_CUT * choices, np.int64)
        pairs = self._pairs("small", SMALL_CUT * num_zeros, 1)
        scratch = Scratch(edges, face_keys.reshape(SMALL_CUT, choices), pairs)
        neuron, sizes, is_consistent = cut_while_small(
            neuron,
            stop,
            self.sizes,
            self._limits(),
            self._layer,
            self._growing(),
            self._queues(),
            scratch,
        )
        if not is_consistent:
            raise inconsistent(layer)
        self._set_sizes(sizes)
        return neuron

    def _cut(self, layer: int, neuron: int) -> None:
        """Cuts the queued edges by the neuron and joins the new vertices across the faces."""
        offsets = _offsets(self._counts[:, neuron])
        count = int(offsets[-1])
        vertices, edges = self.sizes
        self._make_room(layer, neuron, count)
        parts = PARTS if count > SMALL_CUT else 1
        num_zeros = self.constraints.dimension - 1
        choices = num_choices(num_zeros)
        face_keys = self._buffer("keys", count * choices, np.int64)
        cut = Cut(
            neuron,
            vertices,
            edges,
            self._buffer("edges", count, np.int32),
            face_keys.reshape(count, choices),
        )
        of_cut = cut, self._layer, self._growing(), self._queues()
        each_part(collect, PARTS, parts > 1, offsets, neuron, cut.edges, self._queues())
        in_parts(split, count, SMALL_CUT, *of_cut)
        vertices, edges = vertices + count, edges + count
        if num_zeros:
            pairs = self._pairs("large", count * num_zeros, parts)
            each_part(pair, parts, parts > 1, cut.face_keys, pairs)
            unpaired = pairs.num_unpaired
            if (unpaired < 0).any() or (unpaired.any() and not self.is_partial):
                raise inconsistent(layer)
            offsets = edges + _offsets(pairs.num_found)
            each_part(join, parts, parts > 1, offsets, pairs.found, *of_cut)
            edges = int(offsets[-1])
        self._set_sizes(Sizes(vertices, edges))

    def _growing(self) -> Growing:
        """The arrays for the kernels, until the next one moves."""
        return Growing(
            self.positions.rows,
            self.vertex_zeros.rows,
            self.plus_bits.rows,
            self.values.rows,
            self.edges.rows,
            self.edge_zeros.rows,
            self.edge_base.rows,
            self.is_partial,
        )

    def _queues(self) -> Queues:
        return Queues(self._heads, self._counts, self.following.rows)

    def _pairs(self, name: str, num_keys: int, parts: int) -> Pairs:
        """Working memory to find so many pairs in."""
        slots = num_slots(num_keys // parts)
        found = self._buffer(f"{name} pairs", 2 * parts * num_keys, np.int32)
        return Pairs(
            self._buffer(f"{name} waiting keys", parts * slots, np.int64).reshape(parts, slots),
            self._buffer(f"{name} waiting", parts * slots, np.int32).reshape(parts, slots),
            found.reshape(parts, num_keys, 2),
            np.zeros(parts, np.int64),
            np.zeros(parts, np.int64),
        )

    def _buffer(self, name: str, size: int, dtype: type) -> np.ndarray:
        """Working memory that is kept from neuron to neuron: ``size`` elements of it."""
        if name not in self._buffers or len(self._buffers[name]) < size:
            self._buffers[name] = np.empty(size + size // 4, dtype)
        return self._buffers[name][:size]

    def _of_vertex_and_edge(self) -> tuple[list[GrowingRows], list[GrowingRows]]:
        """The arrays with a row per vertex, and those with a row per edge."""
        of_vertex = [self.positions, self.vertex_zeros, self.plus_bits, self.values]
        return of_vertex, [self.edges, self.edge_zeros, self.edge_base, self.following]

    def _row_bytes(self) -> Sizes:
        """Bytes held for each vertex, and for each edge."""
        return Sizes(*(sum(part.row_bytes for part in rows) for rows in self._of_vertex_and_edge()))

    def _bytes_of(self, sizes: Sizes) -> int:
        """Bytes that so many vertices and edges take."""
        row_bytes = self._row_bytes()
        return sizes.vertices * row_bytes.vertices + sizes.edges * row_bytes.edges

    def _limits(self) -> Limits:
        room = (min(len(part.rows) for part in rows) for rows in self._of_vertex_and_edge())
        return Limits(Sizes(*room), self._row_bytes(), self.budget.max_bytes)

    def _make_room(self, layer: int, neuron: int, count: int) -> None:
        """Room for what cutting ``count`` edges can add: their halves, and an edge per face."""
        vertices, edges = self.sizes
        most_vertices = vertices + count
        most_edges = edges + count * self.constraints.dimension
        needed = self._bytes_of(Sizes(most_vertices, most_edges))
        self.budget.check(needed, layer, neuron, vertices, edges)
        if max(most_vertices, most_edges) > MAX_ROWS:
            raise ExtractionError(
                f"stopped at neuron {neuron} of layer {layer} with {vertices:,} vertices and "
                f"{edges:,} edges: cells are numbered in 32 bits, and more would not fit. "
                "Use a smaller box, or extract only the surface"
            )
        of_vertex, of_edge = self._of_vertex_and_edge()
        for rows in of_vertex:
            rows.reserve(most_vertices)
        for rows in of_edge:
            rows.reserve(most_edges)

    def _set_sizes(self, sizes: Sizes) -> None:
        of_vertex, of_edge = self._of_vertex_and_edge()
        for rows in of_vertex:
            rows.size = sizes.vertices
        for rows in of_edge:
            rows.size = sizes.edges

    def regions(self) -> HashedRegions:
        """The regions between two layers; they share the memory."""
        return find_regions(
            self.constraints,
            self.keys,
            torch.from_numpy(self.vertex_zeros.data),
            torch.from_numpy(self.plus_bits.data).view(torch.int32),
            self.edges_so_far(),
            torch.from_numpy(self.edge_zeros.data),
        )

    def finish(self) -> Skeleton:
        """The finished skeleton, with the unused memory given back."""
        self._pass_over_edges(self._no_words)
        del self.values, self.following
        self._buffers.clear()
        return Skeleton(
            self.constraints,
            self.positions.release(),
            self.vertex_zeros.release(),
            self.plus_bits.release().view(torch.int32),
            self.edges.release(),
            self.edge_zeros.release(),
            self.edge_base.release(),
            self.keys,
        )


def _offsets(counts: np.ndarray) -> np.ndarray:
    """Where each of the consecutive lists of these lengths starts, and the end."""
    return np.concatenate([[0], np.cumsum(counts)])
