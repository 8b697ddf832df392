"""Edge subdivision in plain torch, on any device.

This is the one that runs on a GPU, and the oracle: the compiled twin for the CPU
(``compiled.py``, ``kernels.py``) must make the same decisions and give the same cells.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.signs import WORD_BITS, Constraints, ZobristKeys, pack
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.memory import Budget
from shapeopt.extraction.progress import Progress, inconsistent
from shapeopt.extraction.subdivision.regions import SortedRegions, find_regions
from shapeopt.extraction.tolerances import neuron_sizes, rounding_threshold
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

    def extend(self, count: int) -> Tensor:
        """Appends rows for the caller to fill in. Those taken before may be stale afterwards."""
        new_size = self.size + count
        if new_size > len(self._buffer):
            grown = self._buffer.new_empty(max(new_size, 2 * self.size), *self._buffer.shape[1:])
            grown[: self.size] = self.data
            self._buffer = grown
        first, self.size = self.size, new_size
        return self._buffer[first:new_size]

    def keep(self, chosen: Bool[Tensor, "n"]) -> None:
        """Drops the other rows and moves the chosen ones together."""
        kept = self.data[chosen]
        self.size = len(kept)
        self.data.copy_(kept)


class PlainSubdivision:
    """The growing skeleton, and the cutting of it by one layer after the other. The oracle.

    Args:
        start: the skeleton to cut.
        inputs: what the first layer gets at its vertices.
        budget: of the memory.
        ulps: that count as rounding.

    A GPU is waited for twice per neuron: for the number of cut faces, and for how many edges go to
    which neuron next. What depends on the layer alone is made once per layer.

    ``edge_base`` is an edge's key without the + signs of the layer at work: those are added from
    the packed words where they are needed, so that an edge that nothing cuts costs nothing.
    ``points`` has each vertex's position and, behind it, its values in the layer at work.
    """

    is_compiled = False

    def __init__(self, start: Skeleton, inputs: Float[Tensor, "v in"], budget: Budget, ulps: int):
        self.constraints = start.constraints
        self.budget = budget
        self.ulps = ulps
        self.keys = start.keys
        self.points = _Rows(start.vertices)
        self.vertex_zeros = _Rows(start.vertex_zeros.clone())
        self.plus_bits = _Rows(start.vertex_plus_bits.clone())
        self.edges = _Rows(start.edges.clone())
        self.edge_zeros = _Rows(start.edge_zeros.clone())
        self.edge_base = _Rows(start.edge_keys.clone())
        self.inputs = inputs
        self.largest = inputs.abs().amax(dim=0)
        self.is_partial = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of vertices and edges."""
        return self.points.size, self.edges.size

    @property
    def positions(self) -> Float[Tensor, "v d"]:
        """Of the vertices so far."""
        return self.points.data[:, : self.constraints.dimension]

    def values_at_work(self) -> Float[Tensor, "v width"]:
        """Of the layer at work, at the vertices so far."""
        return self.points.data[:, self.constraints.dimension :]

    def edges_so_far(self) -> Int32[Tensor, "e 2"]:
        """The edges so far."""
        return self.edges.data

    def cut_by_output(self) -> Bool[Tensor, "e"]:
        """Which edges the one neuron of the layer at work cuts."""
        is_plus = self.values_at_work()[:, 0] >= -self.threshold
        one, two = is_plus[self.edges.data.long()].unbind(1)
        return one != two

    def edges_in_planes(self) -> Bool[Tensor, "e"]:
        """Which edges lie in a box plane."""
        return (self.edge_zeros.data >= self.constraints.num_neurons).any(dim=1)

    def keep(self, edges: Bool[Tensor, "e"], *, faces_are_whole: bool) -> None:
        """Drops the other edges, and every vertex without one.

        Args:
            faces_are_whole: whether a face that is left with an edge that will be cut has both.
        """
        ends = self.edges.data.long()
        vertices = torch.zeros(self.points.size, dtype=torch.bool, device=edges.device)
        vertices[ends[edges]] = True
        self.edges.data.copy_((vertices.cumsum(0) - 1)[ends])
        for rows in (self.points, self.vertex_zeros, self.plus_bits):
            rows.keep(vertices)
        for rows in (self.edges, self.edge_zeros, self.edge_base):
            rows.keep(edges)
        self.is_partial |= not faces_are_whole

    def evaluate(self, layers: Sequence[AffineLayer], index: int) -> None:
        """Puts a layer's values at all vertices in the place of those of the layer before."""
        layer, inputs = layers[index], self.inputs
        if index:
            inputs = layers[index - 1].activated(self.values_at_work())
        points = inputs.new_empty(len(inputs), self.constraints.dimension + len(layer.bias))
        points[:, : self.constraints.dimension] = self.positions
        values = points[:, self.constraints.dimension :]
        torch.addmm(layer.bias, inputs, layer.weight.T, out=values)
        self.points = _Rows(points)
        largest = values.abs().amax(dim=0)
        sizes = neuron_sizes(layer, self.largest, largest)
        self.threshold = rounding_threshold(sizes, layer.is_linear, self.ulps)
        self.largest = largest

    def cut_by_layer(self, layer: int, progress: Progress | None) -> None:
        """Cuts every edge by every neuron of the layer whose values were evaluated."""
        before = self.sizes
        self.layer = layer
        self.at = _layer(self.constraints, self.keys, layer)
        self.limits = self._limits()
        self.plus_bits.data[:, self.at.words] = pack(self.values_at_work() >= -self.threshold)
        self.pairs: list[Tensor] = []

        width = self.constraints.widths[layer]
        self.queues: list[list[Tensor]] = [[] for _ in range(width)]
        cuts, _ = self._words_of_edges()
        self._enqueue(torch.arange(len(cuts), device=cuts.device), cuts)
        for neuron in range(width):
            if self.queues[neuron]:
                edges = torch.cat(self.queues[neuron])
                self.queues[neuron].clear()
                self._cut(neuron, edges)
            if progress is not None:
                progress(layer, neuron, self.points.size)

        if not self._is_consistent(*before):
            raise inconsistent(layer)
        _, plus = self._words_of_edges()
        self.edge_base.data.add_(self.keys.of_words(plus, layer))

    def regions(self) -> SortedRegions:
        """The regions between two layers."""
        return find_regions(self._skeleton())

    def finish(self) -> Skeleton:
        """The finished skeleton."""
        return self._skeleton()

    def _skeleton(self) -> Skeleton:
        """Between two layers, when the bases are the keys."""
        return Skeleton(
            self.constraints,
            self.positions.contiguous(),
            self.vertex_zeros.data,
            self.plus_bits.data,
            self.edges.data,
            self.edge_zeros.data,
            self.edge_base.data,
            self.keys,
        )

    def _limits(self) -> Float[Tensor, "width width"]:
        """For each neuron at work, the values from which on the signs of a new vertex may be +:
        its own is not; those of the neurons before it are decided by the edge."""
        width = len(self.threshold)
        limits = (-self.threshold).expand(width, -1)
        return limits.masked_fill(self.at.is_before, -torch.inf).fill_diagonal_(torch.inf)

    def _words_of_edges(self) -> tuple[Int32[Tensor, "e words"], Int32[Tensor, "e words"]]:
        """For each edge the layer's neurons whose signs differ at its ends, and those that are +
        at one of them."""
        u, v = self.edges.data.unbind(1)
        words = self.plus_bits.data[:, self.at.words]
        at_u, at_v = words[u], words[v]
        return at_u ^ at_v, at_u | at_v

    def _is_consistent(self, vertices: int, edges: int) -> bool:
        """Whether the keys of cut faces came in pairs since there were so many vertices and edges.

        No key may come a third time. Nor may one come alone in the whole complex, so there are
        half as many new edges as faces inside the box at the edges that were cut.
        """
        if not self.pairs:
            return True
        pairs = torch.cat(self.pairs)
        is_wrong = (pairs[1:] & pairs[:-1]).any()
        if not self.is_partial:
            cut = self.points.size - vertices
            joined = self.edges.size - edges - cut
            zeros = self.vertex_zeros.data[vertices:]
            outside = (zeros >= self.constraints.num_neurons).sum()
            is_wrong |= outside != 2 * (self.constraints.dimension - 1) * cut - 2 * joined
        return not bool(is_wrong)

    def _enqueue(self, edges: Int64[Tensor, "n"], cuts: Int32[Tensor, "n words"]) -> None:
        """Queues each edge at the first neuron among its ``cuts``; edges without one are done."""
        number, order = torch.sort(_first_bit(cuts), stable=True)
        ends = torch.searchsorted(number, self.at.numbers).tolist()
        edges = edges[order]
        for queue, start, stop in zip(self.queues, ends, [*ends[1:], len(edges)], strict=True):
            if start < stop:
                queue.append(edges[start:stop])

    def _cut(self, neuron: int, edges: Int64[Tensor, "n"]) -> None:
        """Cuts the edges by the neuron and joins the new vertices across the cut faces."""
        self._check_budget(neuron, len(edges))
        ends, zeros = self.edges.data[edges], self.edge_zeros.data[edges]
        base = self.edge_base.data[edges]
        first_new, first_edge = self.sizes
        bits = self.plus_bits.data[ends]
        plus = self._add_vertices(neuron, ends, zeros, bits)
        faces = self._cut_faces(neuron, zeros, base, plus)

        # (u, v) becomes (u, new) in place; (new, v) is appended, and the edges across the faces.
        count, joined = len(edges), len(faces.edges)
        new = torch.arange(first_new, first_new + count, dtype=torch.int32, device=edges.device)
        self.edges.data[:, 1][edges] = new
        appended = self.edges.extend(count + joined)
        torch.stack([new, ends[:, 1]], dim=1, out=appended[:count])
        torch.add(faces.edges, first_new, out=appended[count:])
        new_zeros = self.vertex_zeros.data[first_new:]
        face_zeros = new_zeros[faces.edges[:, :1], self.at.others[faces.turned]]
        torch.cat([zeros, face_zeros], out=self.edge_zeros.extend(count + joined))
        torch.cat([base, faces.base], out=self.edge_base.extend(count + joined))

        if neuron + 1 < len(self.queues):
            rest = torch.arange(first_edge, self.edges.size, device=edges.device)
            cuts = self._cuts_after(neuron, first_new, bits, faces.edges)
            self._enqueue(torch.cat([edges, rest]), cuts)

    def _check_budget(self, neuron: int, count: int) -> None:
        """Counts what cutting ``count`` edges can lead to; growing holds rows twice for a while."""
        vertices, edges = self.sizes
        of_vertex = (self.points, self.vertex_zeros, self.plus_bits)
        of_edge = (self.edges, self.edge_zeros, self.edge_base)
        needed = 2 * (vertices + count) * sum(rows.row_bytes for rows in of_vertex)
        new_edges = count * self.constraints.dimension
        needed += 2 * (edges + new_edges) * sum(rows.row_bytes for rows in of_edge)
        self.budget.check(needed, self.layer, neuron, vertices, edges)

    def _add_vertices(
        self,
        neuron: int,
        ends: Int32[Tensor, "n 2"],
        zeros: Int[Tensor, "n d_minus_1"],
        bits: Int32[Tensor, "n 2 all_words"],
    ) -> Int32[Tensor, "n words"]:
        """Appends the vertex where the neuron is 0 on each edge.

        Args:
            bits: packed + signs at the ends.

        Returns:
            The + signs of the edges, of the layer's neurons before this one.
        """
        ends_at = self.points.data[ends]
        column = self.constraints.dimension + neuron
        at_u, at_v = ends_at[:, :, column].unbind(1)
        t = (at_u / (at_u - at_v)).nan_to_num_(0.0).clamp_(0, 1)[:, None]
        points = self.points.extend(len(ends))
        torch.lerp(ends_at[:, 0], ends_at[:, 1], t, out=points)
        points[:, column] = 0

        index = self.at.neurons[neuron].expand(len(ends), 1)
        torch.cat([zeros, index], dim=1, out=self.vertex_zeros.extend(len(ends)))

        plus_bits = self.plus_bits.extend(len(ends))
        torch.bitwise_or(bits[:, 0], bits[:, 1], out=plus_bits)
        own, (own_u, own_v) = plus_bits[:, self.at.words], bits[:, :, self.at.words].unbind(1)
        of_edge = own & self.at.before[neuron]
        # Where the ends differ in a neuron still to come the value decides; elsewhere the ends
        # do, whatever rounding makes of the interpolated value.
        decided = pack(points[:, self.constraints.dimension :] >= self.limits[neuron])
        own &= decided.bitwise_or_(own_u & own_v)
        return of_edge

    def _cut_faces(
        self,
        neuron: int,
        zeros: Int[Tensor, "n d_minus_1"],
        base: Int64[Tensor, "n"],
        plus: Int32[Tensor, "n words"],
    ) -> "_Faces":
        """Pairs the cut edges that are at one face.

        Turning one zero of a cut edge into + or - gives each 2-face at the edge.

        Args:
            zeros, base: of the cut edges.
            plus: their + signs of the layer's neurons before this one.
        """
        count, num_zeros = zeros.shape
        if num_zeros == 0:  # in one dimension there are no faces
            none = base[:0]
            return _Faces(none.view(0, 2), none, none)
        keys = base.new_empty(2, count)
        torch.add(base, self.keys.of_words(plus, self.layer), out=keys[0])
        torch.add(base, self.keys.zero[self.at.first + neuron], out=keys[1])
        face_key, new_base = self.at.turns[:, zeros.long()].add_(keys[:, :, None, None]).flatten(1)

        face_key, order = torch.sort(face_key)
        is_pair = face_key[1:] == face_key[:-1]
        self.pairs += [is_pair, self.at.no]
        pairs = order.unfold(0, 2, 1)[torch.nonzero(is_pair).flatten()]
        one = pairs[:, 0]
        sides = 2 * num_zeros
        return _Faces(pairs // sides, one % sides, new_base[one])

    def _cuts_after(
        self,
        neuron: int,
        first_new: int,
        bits: Int32[Tensor, "n 2 all_words"],
        across: Int64[Tensor, "m 2"],
    ) -> Int32[Tensor, "k words"]:
        """The neurons of the layer after this one that cut the edges at the new vertices, as packed
        bits: of the first halves of the cut edges, the second ones, and the new edges."""
        at_new = self.plus_bits.data[first_new:, self.at.words]
        halves = bits[:, :, self.at.words] ^ at_new[:, None]
        one, two = at_new[across].unbind(1)
        return torch.cat([halves[:, 0], halves[:, 1], one ^ two]) & self.at.after[neuron]


class _Faces(NamedTuple):
    """The faces that a neuron cuts.

    Attributes:
        edges: their two cut edges, numbered among those that the neuron cuts.
        turned: twice the place of the zero of the first edge that is none of the face, plus 1 if it
            is + there.
        base: ``edge_base`` of the new edge across the face.
    """

    edges: Int64[Tensor, "m 2"]
    turned: Int64[Tensor, "m"]
    base: Int64[Tensor, "m"]


class _Layer(NamedTuple):
    """Index tables and masks of a layer.

    Attributes:
        first: its first neuron.
        words: its columns of the packed signs.
        numbers: 1 to its width.
        neurons: the constraints that its neurons are.
        is_before: for each neuron, which ones come before it.
        before, after: for each neuron, those before and after it as packed bits.
        turns: what a key, and what an ``edge_base``, changes by when a constraint turns from 0 to
            - or to +. In bases the + signs of this layer are left out. Outside of a box plane there
            is nothing, and the key has the plane twice, which no other one has.
        others: by ``_Faces.turned``, the places of the zeros that stay, in those of the new vertex.
        no: False, between the pairs of two neurons.
    """

    first: int
    words: slice
    numbers: Int32[Tensor, "width"]
    neurons: Int[Tensor, "width"]
    is_before: Bool[Tensor, "width width"]
    before: Int32[Tensor, "width words"]
    after: Int32[Tensor, "width words"]
    turns: Int64[Tensor, "2 constraints 2"]
    others: Int64[Tensor, "sides d_minus_1"]
    no: Bool[Tensor, "1"]


@lru_cache(maxsize=64)
def _layer(constraints: Constraints, keys: ZobristKeys, layer: int) -> _Layer:
    """Made once per architecture, as the keys are."""
    device, width = keys.zero.device, constraints.widths[layer]
    first = constraints.first_neuron(layer)
    numbers = torch.arange(1, width + 1, dtype=torch.int32, device=device)
    every = torch.ones(width, width, dtype=torch.bool, device=device)
    constraint = torch.arange(constraints.num_constraints, device=device)
    minus = torch.where(constraint < constraints.num_neurons, -keys.zero, keys.zero)
    plus_of_base = torch.where(constraint < first, keys.plus, 0)
    of_key = torch.stack([minus, keys.plus - keys.zero], dim=1)
    of_base = torch.stack([-keys.zero, plus_of_base - keys.zero], dim=1)
    d = constraints.dimension
    others = [[place for place in range(d) if place != side // 2] for side in range(2 * d - 2)]
    return _Layer(
        first,
        constraints.words(layer),
        numbers,
        (numbers + (first - 1)).to(constraints.index_dtype),
        every.tril(-1),
        pack(every.tril(-1)),
        pack(every.triu(1)),
        torch.stack([of_key, of_base]),
        torch.tensor(others, dtype=torch.int64, device=device).view(2 * d - 2, d - 1),
        every.new_zeros(1),
    )


def _first_bit(words: Int32[Tensor, "n words"]) -> Int32[Tensor, "n"]:
    """Number of the lowest set bit of each row, counted from 1; 0 where there is none."""
    # frexp is exact on powers of two, and its exponent ignores the sign of bit 31.
    number = torch.frexp((words & -words).to(torch.float32)).exponent
    first = number[:, 0]
    for column in range(1, words.shape[1]):
        here = number[:, column]
        first = torch.where((first > 0) | (here == 0), first, here + column * WORD_BITS)
    return first
