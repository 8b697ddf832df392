"""Edge subdivision compiled for the CPU: the same steps and decisions as the plain torch one.

Torch on a CPU spends most of its time passing over arrays and growing them. Here one compiled
loop does everything for an edge while its rows are in the cache, an edge waits in a linked list
of the next neuron that cuts it, and faces are paired through a hash table as large as the cut.
Everything a neuron does costs time in proportion to the edges it cuts.

Neurons with small cuts are worked off in one compiled loop, large cuts in parts (``compiled.py``).

The first call for a dtype compiles (some ten seconds); numba keeps the code on disk if it can.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from shapeopt.complex.compiled import PARTS, each_part, in_parts, kernel
from shapeopt.complex.memory import Budget
from shapeopt.complex.signs import Constraints, num_words
from shapeopt.complex.skeleton import Box, Skeleton, box_skeleton
from shapeopt.complex.subdivision import Progress, inconsistent, rounding_threshold
from shapeopt.errors import ExtractionError
from shapeopt.networks import AffineLayer

SMALL_CUT = 4096
"""Cuts of up to so many edges are done in one part: handing work to threads would cost more."""
SMALL_PASS = 1 << 17
"""Passes over fewer rows are done in one part, for the same reason."""
CHUNK = 1 << 16
"""Vertices evaluated at a time."""
BLOCK = 32
"""Edges whose rows are loaded ahead; they must fit the first-level cache."""
LISTS = 4
"""Queues emptied side by side; divides the number of parts."""
SMALL_ROWS = 1 << 17
"""Room for that many rows from the start."""
MAX_ROWS = 2**31 - 1
"""Vertices and edges are numbered in int32."""


# Lowest set bit of a 32-bit word: (word & -word) * constant has a different top 5 bits for each.
_DE_BRUIJN = np.zeros(32, np.int64)
for _bit in range(32):
    _DE_BRUIJN[((1 << _bit) * 0x077CB531 & 0xFFFFFFFF) >> 27] = _bit


@kernel
@no_type_check
def _lowest_bit(word):
    isolated = np.uint32(word & (~word + np.uint32(1)))
    return _DE_BRUIJN[np.uint32(isolated * np.uint32(0x077CB531)) >> np.uint32(27)]


@kernel
@no_type_check
def _push(edge, u, v, after, signs, column, words, heads, counts, following):
    """Queues the edge (u, v) at the first neuron > after that cuts it, if there is one."""
    start = (after + 1) >> 5
    mask = np.uint32(0xFFFFFFFF) << np.uint32((after + 1) & 31)
    for j in range(start, words):
        cuts = (signs[u, column + j] ^ signs[v, column + j]) & mask
        if cuts != 0:
            neuron = j * 32 + _lowest_bit(cuts)
            following[edge] = heads[neuron]
            heads[neuron] = edge
            counts[neuron] += 1
            return
        mask = np.uint32(0xFFFFFFFF)


@kernel
@no_type_check
def _decide_signs(part, start, stop, values, threshold, signs, column):
    """Packs the signs of a layer's values at the vertices start..stop."""
    width = values.shape[1]
    for i in range(start, stop):
        for j in range((width + 31) >> 5):
            word = np.uint32(0)
            for bit in range(min(32, width - 32 * j)):
                neuron = 32 * j + bit
                if values[i, neuron] >= -threshold[neuron]:
                    word |= np.uint32(1) << np.uint32(bit)
            signs[i, column + j] = word


@kernel
@no_type_check
def _pass_over_edges(part, start, stop, edges, signs, done, edge_base, column, words, queues):
    """Adds the + signs of the layer that is ``done`` to the edges' keys, and queues each edge at
    the first neuron of the next layer that cuts it. Either layer may have no words.

    Block by block, first what all edges need and then the queueing: a branch on a word that is
    not in the cache yet would stop the loads behind it.
    """
    heads, counts, following = queues
    done_column, done_words, table = done
    is_cut = np.empty(BLOCK, np.bool_)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        for edge in range(first, last):
            u, v = edges[edge, 0], edges[edge, 1]
            key = edge_base[edge]
            for j in range(done_words):
                word = signs[u, done_column + j] | signs[v, done_column + j]
                for byte in range(4):
                    key += table[4 * j + byte, (word >> np.uint32(8 * byte)) & np.uint32(255)]
            edge_base[edge] = key
            cuts = np.uint32(0)
            for j in range(words):
                cuts |= signs[u, column + j] ^ signs[v, column + j]
            is_cut[edge - first] = cuts != 0
        for edge in range(first, last):
            if is_cut[edge - first]:
                u, v = edges[edge, 0], edges[edge, 1]
                _push(edge, u, v, -1, signs, column, words, heads[part], counts[part], following)


@kernel
@no_type_check
def _collect(group, offsets, neuron, queues, cut):
    """Empties the queues of the neuron in a group of parts into ``cut``.

    The lists are walked side by side: a step along one waits for memory, and the others need not.
    """
    heads, counts, following = queues
    one = group * LISTS
    two, three, four = one + 1, one + 2, one + 3
    at_one, at_two = heads[one, neuron], heads[two, neuron]
    at_three, at_four = heads[three, neuron], heads[four, neuron]
    sizes = counts[one, neuron], counts[two, neuron], counts[three, neuron], counts[four, neuron]
    for i in range(max(sizes)):
        if i < sizes[0]:
            cut[offsets[one] + i] = at_one
            at_one = following[at_one]
        if i < sizes[1]:
            cut[offsets[two] + i] = at_two
            at_two = following[at_two]
        if i < sizes[2]:
            cut[offsets[three] + i] = at_three
            at_three = following[at_three]
        if i < sizes[3]:
            cut[offsets[four] + i] = at_four
            at_four = following[at_four]
    for part in range(one, one + LISTS):
        heads[part, neuron] = -1
        counts[part, neuron] = 0


@kernel
@no_type_check
def _touch(first, last, cut, skeleton, values):
    """Reads from all rows that splitting cut[first:last] needs, to have them in the cache.

    These loads wait for nothing but one another's addresses, so many are under way at a time.
    """
    positions, _, signs, edges, edge_zeros, edge_base = skeleton
    line = 64 // values.itemsize
    total = 0.0
    for i in range(first, last):
        edge = cut[i]
        total += edge_base[edge]
        for z in range(edge_zeros.shape[1]):
            total += edge_zeros[edge, z]
        for end in range(2):
            vertex = edges[edge, end]
            total += positions[vertex, 0] + signs[vertex, 0]
            for j in range(0, values.shape[1], line):
                total += values[vertex, j]
    return total


@kernel
@no_type_check
def _split(
    part,
    start,
    stop,
    cut,
    neuron,
    first_vertex,
    first_edge,
    layer,
    keys,
    skeleton,
    values,
    threshold,
    queues,
    face_keys,
):
    """Splits the edges cut[start:stop] and lists the keys of the 2-faces at each.

    ``face_keys[i, z, 0]`` is for zero z of edge i turned to -, ``[i, z, 1]`` to +; 0 for none.
    """
    first_neuron, column, words, num_neurons = layer
    plus_key, zero_key, table = keys
    positions, vertex_zeros, signs, edges, edge_zeros, edge_base = skeleton
    heads, counts, following = queues
    dimension, width = positions.shape[1], values.shape[1]
    own_word = neuron >> 5
    own_before = (np.uint32(1) << np.uint32(neuron & 31)) - np.uint32(1)
    own_later = ~(own_before | (own_before + np.uint32(1)))
    one = values.dtype.type(1)
    touched = 0.0
    for i in range(start, stop):
        if (i - start) % BLOCK == 0:
            touched += _touch(i, min(i + BLOCK, stop), cut, skeleton, values)
        edge, new, half = cut[i], first_vertex + i, first_edge + i
        u, v = edges[edge, 0], edges[edge, 1]

        # Interpolated from the nearer end, as torch.lerp does.
        at_u, at_v = values[u, neuron], values[v, neuron]
        if at_u == at_v:
            t = one if at_u > 0 else one - one
        else:
            t = min(max(at_u / (at_u - at_v), one - one), one)
        if t >= 0.5:
            near, far, t = v, u, one - t
        else:
            near, far = u, v
        for j in range(dimension):
            x = positions[near, j]
            positions[new, j] = x + t * (positions[far, j] - x)
        for j in range(width):
            x = values[near, j]
            values[new, j] = x + t * (values[far, j] - x)
        values[new, neuron] = 0

        # A neuron that is + at either end is + on the edge, and so inside it. A neuron still to
        # come may have changed sign there: only then the value decides.
        key = edge_base[edge]
        for j in range(signs.shape[1]):
            at_u_word, at_v_word = signs[u, j], signs[v, j]
            either = at_u_word | at_v_word
            own = j - column
            if own < 0 or own >= words:
                signs[new, j] = either
                continue
            before, later = np.uint32(0xFFFFFFFF), np.uint32(0)
            if own == own_word:
                before, later = own_before, own_later
            elif own > own_word:
                before, later = later, before
            undecided = (at_u_word ^ at_v_word) & later
            word = (either & before) | (at_u_word & at_v_word & later)
            while undecided != 0:
                bit = _lowest_bit(undecided)
                lowest = np.uint32(1) << np.uint32(bit)
                undecided ^= lowest
                if values[new, 32 * own + bit] >= -threshold[32 * own + bit]:
                    word |= lowest
            signs[new, j] = word
            either &= before
            for byte in range(4):
                key += table[4 * own + byte, (either >> np.uint32(8 * byte)) & np.uint32(255)]

        edges[edge, 1] = new
        edges[half, 0], edges[half, 1] = new, v
        for z in range(dimension - 1):
            zero = edge_zeros[edge, z]
            edge_zeros[half, z] = zero
            vertex_zeros[new, z] = zero
            without = key - zero_key[zero]
            # 0 stands for no face: nothing is on the outer side of a box plane.
            face_keys[i, z, 0] = (without or 1) if zero < num_neurons else 0
            face_keys[i, z, 1] = (without + plus_key[zero]) or 1
        vertex_zeros[new, dimension - 1] = first_neuron + neuron
        edge_base[half] = edge_base[edge]
        _push(edge, u, new, neuron, signs, column, words, heads[part], counts[part], following)
        _push(half, new, v, neuron, signs, column, words, heads[part], counts[part], following)
    return touched  # or the compiler would leave the touching out


@kernel
@no_type_check
def _pair(part, parts, count, face_keys, tables, slots, pairs, num_pairs, unpaired):
    """Finds equal face keys among the part's share of the keys, by open addressing.

    A slot holds 1 + the position of the key that waits there, or -1 once its pair was found.
    ``unpaired`` counts keys without a pair; it is -1 if a key comes three times.
    """
    table, slot = tables[part], slots[part]
    mask = len(slot) - 1
    slot[:] = 0
    found, waiting = 0, 0
    flat = face_keys.ravel()
    per_edge = face_keys.shape[1] * face_keys.shape[2]
    for i in range(count * per_edge):
        key = flat[i]
        if key == 0 or key & (parts - 1) != part:
            continue
        at = (key >> 8) & mask
        while slot[at] != 0 and table[at] != key:
            at = (at + 1) & mask
        if slot[at] == 0:
            table[at], slot[at] = key, 1 + i
            waiting += 1
            if found + waiting >= mask:
                waiting = -1  # half of the slots stay empty while keys are random
                break
        elif slot[at] > 0:
            pairs[part, found, 0], pairs[part, found, 1] = slot[at] - 1, i
            slot[at] = -1
            found += 1
            waiting -= 1
        else:  # a third edge of one face
            waiting = -1
            break
    num_pairs[part] = found
    unpaired[part] = waiting


@kernel
@no_type_check
def _join(
    part,
    offsets,
    pairs,
    neuron,
    first_vertex,
    first_edge,
    layer,
    keys,
    skeleton,
    queues,
):
    """Adds the part's new edges: offsets[part] is its first one."""
    first_neuron, column, words, _ = layer
    plus_key, zero_key, _ = keys
    _, _, signs, edges, edge_zeros, edge_base = skeleton
    heads, counts, following = queues
    num_zeros = edge_zeros.shape[1]
    own = first_neuron + neuron
    for i in range(offsets[part + 1] - offsets[part]):
        new = offsets[part] + i
        one, other = pairs[part, i, 0], pairs[part, i, 1]
        # Both edges know the face; the second is read, for they come in its order. Its new half
        # has the same zeros and base, and lies next to the ones read before.
        index, choice = divmod(other, 2 * num_zeros)
        turned, side = divmod(choice, 2)
        u, v = first_vertex + one // (2 * num_zeros), first_vertex + index
        edge = first_edge + index
        zero = edge_zeros[edge, turned]
        base = edge_base[edge] - zero_key[zero] + zero_key[own]
        # Base keys hold finished layers; a zero of this layer becomes + through the words.
        if side == 1 and zero < first_neuron:
            base += plus_key[zero]
        edges[new, 0], edges[new, 1] = u, v
        at = 0
        for z in range(num_zeros):
            if z != turned:
                edge_zeros[new, at] = edge_zeros[edge, z]
                at += 1
        edge_zeros[new, at] = own
        edge_base[new] = base
        _push(new, u, v, neuron, signs, column, words, heads[part], counts[part], following)


@kernel
@no_type_check
def _cut_while_small(
    neuron,
    stop,
    sizes,
    limits,
    layer,
    keys,
    skeleton,
    values,
    threshold,
    queues,
    scratch,
    is_partial,
):
    """Cuts by one neuron after the other, up to ``stop``, while cuts are small and there is room.

    In a small network most of the time would go by between the kernels. Returns the neuron to go
    on with, the numbers of vertices and edges, and whether all faces had their two edges.
    """
    _, counts, _ = queues
    cut, face_keys, table, slot, pairs = scratch
    vertices, num_edges = sizes
    room, row_bytes, max_bytes = limits
    dimension = face_keys.shape[1] + 1
    offsets, new_edges = np.zeros(PARTS + 1, np.int64), np.zeros(2, np.int64)
    found, unpaired = np.zeros(1, np.int64), np.zeros(1, np.int64)
    while neuron < stop:
        count = 0
        for part in range(PARTS):
            count += counts[part, neuron]
            offsets[part + 1] = count
        most_vertices, most_edges = vertices + count, num_edges + count * dimension
        has_room = most_vertices <= room[0] and most_edges <= room[1]
        has_room &= most_vertices * row_bytes[0] + most_edges * row_bytes[1] <= max_bytes
        if count > len(cut) or not has_room:
            break
        if count > 0:
            for group in range(PARTS // LISTS):
                _collect(group, offsets, neuron, queues, cut)
            first = vertices, num_edges
            keys_of_cut = face_keys[:count]
            _split(
                0,
                0,
                count,
                cut,
                neuron,
                first[0],
                first[1],
                layer,
                keys,
                skeleton,
                values,
                threshold,
                queues,
                keys_of_cut,
            )
            vertices, num_edges = vertices + count, num_edges + count
            slots = _slots(count * (dimension - 1))
            _pair(
                0,
                1,
                count,
                keys_of_cut,
                table[:slots].reshape(1, slots),
                slot[:slots].reshape(1, slots),
                pairs,
                found,
                unpaired,
            )
            if unpaired[0] < 0 or (unpaired[0] > 0 and not is_partial):
                return neuron, vertices, num_edges, False
            new_edges[0], new_edges[1] = num_edges, num_edges + found[0]
            _join(0, new_edges, pairs, neuron, first[0], first[1], layer, keys, skeleton, queues)
            num_edges = new_edges[1]
        neuron += 1
    return neuron, vertices, num_edges, True


@kernel
@no_type_check
def _slots(num_keys):
    """Slots of a hash table for so many keys, each of which comes twice: a power of two."""
    slots = 1
    while slots <= 2 * num_keys + 256:
        slots *= 2
    return slots


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


class CpuSubdivision:
    """The growing skeleton in numpy arrays; the interface is that of the torch one."""

    def __init__(self, constraints: Constraints, box: Box, budget: Budget):
        self.constraints = constraints
        self.budget = budget
        start = box_skeleton(constraints, box)
        self.keys = start.keys
        self.positions = self._rows(start.vertices)
        self.vertex_zeros = self._rows(start.vertex_zeros)
        self.signs = _Rows(start.vertex_signs.numpy().view(np.uint32), budget)
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
            _decide_signs,
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
            _pass_over_edges,
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
        slots = _slots(most)
        scratch = (
            self._buffer("small cut", SMALL_CUT, np.int32),
            self._buffer("small keys", 2 * most, np.int64).reshape(SMALL_CUT, num_zeros, 2),
            self._buffer("small table", slots, np.int64),
            self._buffer("small slot", slots, np.int32),
            self._buffer("small pairs", 2 * most, np.int32).reshape(1, most, 2),
        )
        room = tuple(min(len(part.rows) for part in rows) for rows in self._of_vertex_and_edge())
        neuron, vertices, edges, is_consistent = _cut_while_small(
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
        each_part(_collect, groups, parts > 1, offsets, neuron, self._all_queues(), cut)

        face_keys = self._buffer("face_keys", 2 * count * num_zeros, np.int64)
        face_keys = face_keys.reshape(count, num_zeros, 2)
        in_parts(
            _split,
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
        slots = _slots(most // parts)
        table = self._buffer("table", parts * slots, np.int64)
        slot = self._buffer("slot", parts * slots, np.int32)
        pairs = self._buffer("pairs", parts * 2 * most, np.int32).reshape(parts, most, 2)
        found, unpaired = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
        each_part(
            _pair,
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
            _join,
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
