"""Edge subdivision in plain torch, on any device.

This is the one that runs on a GPU, and the oracle: the compiled twin for the CPU
(``compiled.py``, ``kernels.py``) must make the same decisions and give the same cells.
"""

import torch
from jaxtyping import Bool, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.signs import WORD_BITS, Constraints, pack
from shapeopt.complex.skeleton import Skeleton, box_skeleton
from shapeopt.extraction.memory import Budget
from shapeopt.extraction.progress import Progress, inconsistent
from shapeopt.extraction.tolerances import rounding_threshold
from shapeopt.networks.affine import AffineLayer


class _Rows:
    """Rows appended in place. The capacity doubles, so a row is copied O(1) times."""

    def __init__(self, rows: Tensor):
        self._buffer = rows
        self.size = len(rows)

    @property
    def data(self) -> Tensor:
        return self._buffer[: self.size]

    @property
    def row_bytes(self) -> int:
        return self._buffer[:1].numel() * self._buffer.element_size()

    def append(self, rows: Tensor) -> None:
        new_size = self.size + len(rows)
        if new_size > len(self._buffer):
            grown = rows.new_empty(max(new_size, 2 * self.size), *self._buffer.shape[1:])
            grown[: self.size] = self.data
            self._buffer = grown
        self._buffer[self.size : new_size] = rows
        self.size = new_size

    def keep(self, chosen: Bool[Tensor, "n"]) -> None:
        """Drops the other rows and moves the chosen ones together."""
        kept = self.data[chosen]
        self.size = len(kept)
        self.data.copy_(kept)


class PlainSubdivision:
    """The growing skeleton, and the cutting of it by one layer after the other. The oracle.

    ``edge_base`` is an edge's key without the + signs of the layer at work: those are added from
    the packed words where they are needed, so that an edge that nothing cuts costs nothing.
    """

    def __init__(self, constraints: Constraints, box: Box, budget: Budget, ulps: int):
        start = box_skeleton(constraints, box)
        self.constraints = constraints
        self.budget = budget
        self.ulps = ulps
        self.keys = start.keys
        self.positions = _Rows(start.vertices)
        self.vertex_zeros = _Rows(start.vertex_zeros)
        self.plus_bits = _Rows(start.vertex_plus_bits)
        self.edges = _Rows(start.edges)
        self.edge_zeros = _Rows(start.edge_zeros)
        self.edge_base = _Rows(start.edge_keys)
        self.values = _Rows(start.vertices)
        self.consistent = torch.ones((), dtype=torch.bool, device=box.lower.device)
        self.is_partial = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of vertices and edges."""
        return self.positions.size, self.edges.size

    def keep(self, edges: Bool[Tensor, "e"]) -> None:
        """Drops the other edges, and every vertex without one."""
        ends = self.edges.data.long()
        vertices = torch.zeros(self.positions.size, dtype=torch.bool, device=edges.device)
        vertices[ends[edges]] = True
        self.edges.data.copy_((vertices.cumsum(0) - 1)[ends])
        for rows in (self.positions, self.vertex_zeros, self.plus_bits, self.values):
            rows.keep(vertices)
        for rows in (self.edges, self.edge_zeros, self.edge_base):
            rows.keep(edges)
        self.is_partial = True

    def evaluate(self, layer: AffineLayer, before: AffineLayer | None) -> None:
        """Puts the layer's values at all vertices in the place of those of the layer before."""
        inputs = self.values.data if before is None else before.activated(self.values.data)
        values = layer.values(inputs)
        self.values = _Rows(values)
        self.threshold = rounding_threshold(values.abs().amax(dim=0), layer.is_linear, self.ulps)

    def cut_by_layer(self, layer: int, progress: Progress | None) -> None:
        """Cuts every edge by every neuron of the layer whose values were evaluated."""
        self.layer = layer
        self.first = self.constraints.first_neuron(layer)
        self.columns = self.constraints.words(layer)
        self.plus_bits.data[:, self.columns] = pack(self.values.data >= -self.threshold)

        width = self.constraints.widths[layer]
        self.queues: list[list[Tensor]] = [[] for _ in range(width)]
        u, v = self.edges.data.unbind(1)
        words = self.plus_bits.data[:, self.columns]
        cuts = words[u] ^ words[v]
        cut_edges = torch.nonzero((cuts != 0).any(dim=1)).flatten()
        self._enqueue(cut_edges, cuts[cut_edges])
        for neuron in range(width):
            if self.queues[neuron]:
                edges = torch.cat(self.queues[neuron])
                self.queues[neuron].clear()
                self._cut(neuron, edges)
            if progress is not None:
                progress(layer, neuron, self.positions.size)

        if not bool(self.consistent):
            raise inconsistent(layer)
        u, v = self.edges.data.unbind(1)
        words = self.plus_bits.data[:, self.columns]
        self.edge_base.data.add_(self.keys.of_words(words[u] | words[v], layer))

    def skeleton(self) -> Skeleton:
        """The skeleton between two layers, when the bases are the keys."""
        return Skeleton(
            self.constraints,
            self.positions.data,
            self.vertex_zeros.data,
            self.plus_bits.data,
            self.edges.data,
            self.edge_zeros.data,
            self.edge_base.data,
            self.keys,
        )

    def finish(self) -> Skeleton:
        """The finished skeleton."""
        return self.skeleton()

    def _enqueue(self, edges: Tensor, cuts: Int32[Tensor, "n words"]) -> None:
        """Queues each edge at the first neuron among its ``cuts``; edges without one are done."""
        width = len(self.queues)
        neuron = _lowest_bit(cuts, none=width)
        order = torch.argsort(neuron, stable=True)
        counts = torch.bincount(neuron, minlength=width + 1).tolist()
        for queue, part in zip(self.queues, edges[order].split(counts), strict=False):
            if len(part):
                queue.append(part)

    def _cut(self, neuron: int, edges: Int64[Tensor, "n"]) -> None:
        """Cuts the edges by the neuron and joins the new vertices across the cut faces."""
        self._check_budget(neuron, len(edges))
        ends = self.edges.data[edges]
        zeros = self.edge_zeros.data[edges]
        base = self.edge_base.data[edges]
        first_new = self.positions.size
        new = torch.arange(first_new, first_new + len(edges), device=edges.device)
        new = new.to(torch.int32)
        edge_plus_bits = self._add_vertices(neuron, ends, zeros)

        # (u, v) becomes (u, new) in place, and (new, v) is appended.
        second_half = self.edges.size + torch.arange(len(edges), device=edges.device)
        self.edges.data[:, 1][edges] = new
        self.edges.append(torch.stack([new, ends[:, 1]], dim=1))
        self.edge_zeros.append(zeros)
        self.edge_base.append(base)

        joined = self._join_across_faces(neuron, new, zeros, base, edge_plus_bits)
        touched = torch.cat([edges, second_half, joined])
        self._enqueue(touched, self._cuts_after(neuron, touched))

    def _check_budget(self, neuron: int, count: int) -> None:
        """Counts what cutting ``count`` edges can lead to; growing holds rows twice for a while."""
        vertices, edges = self.sizes
        of_vertex = (self.positions, self.vertex_zeros, self.plus_bits, self.values)
        of_edge = (self.edges, self.edge_zeros, self.edge_base)
        needed = 2 * (vertices + count) * sum(rows.row_bytes for rows in of_vertex)
        new_edges = count * self.constraints.dimension
        needed += 2 * (edges + new_edges) * sum(rows.row_bytes for rows in of_edge)
        self.budget.check(needed, self.layer, neuron, vertices, edges)

    def _add_vertices(
        self, neuron: int, ends: Int32[Tensor, "n 2"], zeros: Int[Tensor, "n d_minus_1"]
    ) -> Int32[Tensor, "n words"]:
        """Appends the vertex where the neuron is 0 on each edge; returns the edges' + signs."""
        u, v = ends.unbind(1)
        values_u, values_v = self.values.data[u], self.values.data[v]
        at_u, at_v = values_u[:, neuron], values_v[:, neuron]
        t = (at_u / (at_u - at_v)).nan_to_num_(0.0).clamp_(0, 1)[:, None]
        values = torch.lerp(values_u, values_v, t)
        values[:, neuron] = 0

        bits_u, bits_v = self.plus_bits.data[u], self.plus_bits.data[v]
        plus_bits = bits_u | bits_v
        # Where the ends differ in a neuron still to come the value decides; elsewhere the ends
        # do, whatever rounding makes of the interpolated value.
        either = plus_bits[:, self.columns]
        both = bits_u[:, self.columns] & bits_v[:, self.columns]
        decided = pack(values >= -self.threshold)
        later = _bits_after(neuron, either.shape[1], either.device)
        before = _bits_before(neuron, either.shape[1], either.device)
        plus_bits[:, self.columns] = (either & before) | (both & later) | (either & decided & later)

        neuron_column = zeros.new_full((len(zeros), 1), self.first + neuron)
        self.positions.append(torch.lerp(self.positions.data[u], self.positions.data[v], t))
        self.vertex_zeros.append(torch.cat([zeros, neuron_column], dim=1))
        self.plus_bits.append(plus_bits)
        self.values.append(values)
        return either & before

    def _join_across_faces(
        self,
        neuron: int,
        new: Int32[Tensor, "n"],
        zeros: Int[Tensor, "n d_minus_1"],
        base: Int64[Tensor, "n"],
        edge_plus_bits: Int32[Tensor, "n words"],
    ) -> Int64[Tensor, "m"]:
        """Appends the new edge of every cut face; returns the indices of the new edges.

        Turning one zero of a cut edge into + or - gives each 2-face at the edge.
        """
        count, num_zeros = zeros.shape
        if num_zeros == 0:  # in one dimension there are no faces
            return new.new_empty(0, dtype=torch.int64)
        index = zeros.long()
        without = base[:, None] - self.keys.zero[index]
        plus = self.keys.plus[index]
        # Base keys hold finished layers only: a zero of this layer becomes + through the words.
        plus_base = torch.where(index < self.first, plus, 0)
        face_base = torch.stack([without, without + plus_base])
        of_layer = self.keys.of_words(edge_plus_bits, self.layer)[:, None]
        face_key = torch.stack([without, without + plus]) + of_layer
        inside = torch.stack([index < self.constraints.num_neurons, index >= 0])

        face = torch.nonzero(inside.flatten()).flatten()
        face_key, order = torch.sort(face_key.flatten()[face])
        face = face[order]
        first = torch.nonzero(face_key[:-1] == face_key[1:]).flatten()
        self.consistent &= (first.diff() > 1).all()  # no key comes a third time
        if not self.is_partial and 2 * len(first) != len(face):
            self.consistent.fill_(False)
        pairs = torch.stack([face[first], face[first + 1]], dim=1)
        one = pairs[:, 0]
        edge, zero = one // num_zeros % count, one % num_zeros
        kept = torch.arange(num_zeros, device=zeros.device).expand(len(edge), -1)
        kept = kept[kept != zero[:, None]].view(len(edge), num_zeros - 1)
        face_zeros = zeros[edge].gather(1, kept)
        neuron_column = zeros.new_full((len(edge), 1), self.first + neuron)

        first_edge = self.edges.size
        self.edges.append(new[pairs // num_zeros % count])
        self.edge_zeros.append(torch.cat([face_zeros, neuron_column], dim=1))
        self.edge_base.append(face_base.flatten()[one] + self.keys.zero[self.first + neuron])
        return torch.arange(first_edge, self.edges.size, device=zeros.device)

    def _cuts_after(self, neuron: int, edges: Int64[Tensor, "n"]) -> Int32[Tensor, "n words"]:
        """The neurons of the layer after this one that cut the edges, as packed bits."""
        u, v = self.edges.data[edges].unbind(1)
        words = self.plus_bits.data[:, self.columns]
        later = _bits_after(neuron, words.shape[1], words.device)
        return (words[u] ^ words[v]) & later


def _lowest_bit(words: Int32[Tensor, "n words"], none: int) -> Int64[Tensor, "n"]:
    """Index of the lowest set bit of each row, ``none`` where there is none."""
    result = torch.full((len(words),), none, dtype=torch.int64, device=words.device)
    for column in reversed(range(words.shape[1])):
        word = words[:, column]
        # frexp is exact on powers of two, and its exponent ignores the sign of bit 31.
        bit = torch.frexp((word & -word).to(torch.float32)).exponent - 1
        result = torch.where(word != 0, bit.long() + column * WORD_BITS, result)
    return result


def _bits_before(neuron: int, words: int, device: torch.device) -> Int32[Tensor, "words"]:
    """Mask of the neurons before this one."""
    full = (1 << neuron) - 1
    return torch.tensor(_as_int32_words(full, words), dtype=torch.int32, device=device)


def _bits_after(neuron: int, words: int, device: torch.device) -> Int32[Tensor, "words"]:
    """Mask of the neurons after this one."""
    full = ~((1 << (neuron + 1)) - 1)
    return torch.tensor(_as_int32_words(full, words), dtype=torch.int32, device=device)


def _as_int32_words(bits: int, words: int) -> list[int]:
    parts = [(bits >> (WORD_BITS * i)) & 0xFFFFFFFF for i in range(words)]
    return [part - 2**32 if part >= 2**31 else part for part in parts]
