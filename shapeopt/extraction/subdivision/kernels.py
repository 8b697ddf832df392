"""What edge subdivision compiled for the CPU runs for each edge: the steps of ``plain.py``.

Torch on a CPU spends most of its time passing over arrays and growing them. Here one compiled
loop does everything for an edge while its rows are in the cache, an edge waits in a linked list
of the next neuron that cuts it, and faces are paired through a hash table as large as the cut.
Everything a neuron does costs time in proportion to the edges it cuts.

Neurons with small cuts are worked off in one compiled loop, large cuts in parts.

The first call for a dtype compiles (some ten seconds); numba keeps the code on disk if it can.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from shapeopt.compiled import kernel, small_kernel
from shapeopt.vectors import fetch, fetch_row

BLOCK = 32
"""Edges that are passed over at a time; what is known of them must fit the first-level cache."""
AHEAD = 8
"""Edges, or keys, whose rows are on their way while one is worked on. Where a block of rows was
read before working on it, splitting the edges of a large complex took 1.4 to 2 times as long."""
KEYS = 1024
"""Keys of which the part's own ones are listed at a time; a list fits the cache."""
IN_CACHE = 1 << 16
"""Of so many vertices the rows are not far away: fetching them ahead takes as long as it saves."""
LISTS = 8
"""Queues of a part, emptied side by side; a power of two."""


class Words(NamedTuple):
    """A layer's words of packed + signs.

    Attributes:
        column: of the first, among the words of all layers.
        num_words: 0 stands for no layer.
        byte_key: for each byte of the words, the cell key of each of its 256 bit patterns.
    """

    column: int
    num_words: int
    byte_key: np.ndarray


class Layer(NamedTuple):
    """What holds for all neurons of the layer at work.

    Attributes:
        first_neuron: index of its first neuron.
        num_neurons: of the network; a zero from there on is a box plane.
        words: its words.
        threshold: of each neuron; a value of at least minus this is +.
        plus_key, zero_key: what each constraint adds to a cell's key if it is +, or 0.
    """

    first_neuron: int
    num_neurons: int
    words: Words
    threshold: np.ndarray
    plus_key: np.ndarray
    zero_key: np.ndarray


class Growing(NamedTuple):
    """The growing skeleton: arrays with a row per vertex or edge, and room for more.

    Attributes:
        positions, vertex_zeros, plus_bits, values: of each vertex; the values are the layer's.
        edges, edge_zeros: of each edge.
        edge_base: of each edge, its key without the + signs of the layer at work.
        is_partial: whether regions were left out, so that a face may have one cut edge.
    """

    positions: np.ndarray
    vertex_zeros: np.ndarray
    plus_bits: np.ndarray
    values: np.ndarray
    edges: np.ndarray
    edge_zeros: np.ndarray
    edge_base: np.ndarray
    is_partial: bool


class Queues(NamedTuple):
    """The edges that wait for each neuron of the layer, in some linked lists per part and neuron.

    Attributes:
        heads: first edge of each list, [parts * LISTS, width]; -1 for none.
        counts: number of edges in each, [parts * LISTS, width].
        following: of each edge, the next one in its list.
    """

    heads: np.ndarray
    counts: np.ndarray
    following: np.ndarray


class Cut(NamedTuple):
    """The edges that a neuron cuts, and where their new cells go.

    Edge i gets vertex ``first_vertex + i``; its second half becomes edge ``first_edge + i``.

    Attributes:
        neuron: its place in the layer.
        first_vertex, first_edge: see above.
        edges: that are cut.
        face_keys: keys of the 2-faces at each, [edges, :func:`num_choices`]: ``[i, 2 z]`` is for
            zero z of edge i turned to -, ``[i, 2 z + 1]`` to +; 0 for none.
    """

    neuron: int
    first_vertex: int
    first_edge: int
    edges: np.ndarray
    face_keys: np.ndarray


class Pairs(NamedTuple):
    """Where equal face keys are found: in parts, dealt out by the keys' lowest bits.

    Attributes:
        waiting_key: a hash table, [parts, slots], slots a power of two; 0 if the slot is free.
        waiting: the position of the key that waits in the slot; -1 once the pair was found.
        found: positions of two equal keys, [parts, most, 2].
        num_found: pairs of each part.
        num_unpaired: keys of each part without a pair; -1 if a key comes three times.
    """

    waiting_key: np.ndarray
    waiting: np.ndarray
    found: np.ndarray
    num_found: np.ndarray
    num_unpaired: np.ndarray


class Sizes(NamedTuple):
    """Numbers of vertices and edges."""

    vertices: int
    edges: int


class Limits(NamedTuple):
    """How far the skeleton may grow in place.

    Attributes:
        room: rows that the arrays have.
        row_bytes: bytes held for each vertex and edge.
        max_bytes: to hold in all.
    """

    room: Sizes
    row_bytes: Sizes
    max_bytes: int


class Scratch(NamedTuple):
    """Working memory of small cuts; its length is the largest cut.

    Attributes:
        edges, face_keys: see :class:`Cut`.
        pairs: see :class:`Pairs`, of one part.
    """

    edges: np.ndarray
    face_keys: np.ndarray
    pairs: Pairs


# Lowest set bit of a 32-bit word: (word & -word) * constant has a different top 5 bits for each.
# With the one instruction of bits.py a cut takes a sixth longer.
_DE_BRUIJN = np.zeros(32, np.int64)
for _bit in range(32):
    _DE_BRUIJN[((1 << _bit) * 0x077CB531 & 0xFFFFFFFF) >> 27] = _bit


@small_kernel
@no_type_check
def _lowest_bit(word):
    isolated = np.uint32(word & (~word + np.uint32(1)))
    return _DE_BRUIJN[np.uint32(isolated * np.uint32(0x077CB531)) >> np.uint32(27)]


@small_kernel
@no_type_check
def _key_of_word(word, j, words):
    """What the + signs in the layer's word j add to a key."""
    key = 0
    for byte in range(4):
        key += words.byte_key[4 * j + byte, (word >> np.uint32(8 * byte)) & np.uint32(255)]
    return key


@small_kernel
@no_type_check
def _push(part, edge, after, words, signs, first, edges, queues):
    """Queues the edge at the first neuron > after that cuts it, if there is one.

    Args:
        words: of the layer.
        signs, first: where they are at each vertex, and their first column there.
    """
    u, v = edges[edge, 0], edges[edge, 1]
    start = (after + 1) >> 5
    mask = np.uint32(0xFFFFFFFF) << np.uint32((after + 1) & 31)
    for j in range(start, words.num_words):
        cuts = (signs[u, first + j] ^ signs[v, first + j]) & mask
        if cuts != 0:
            neuron = j * 32 + _lowest_bit(cuts)
            row = part * LISTS + (edge & (LISTS - 1))
            queues.following[edge] = queues.heads[row, neuron]
            queues.heads[row, neuron] = edge
            queues.counts[row, neuron] += 1
            return
        mask = np.uint32(0xFFFFFFFF)


@small_kernel
@no_type_check
def _push_later(part, edge, cut, layer, growing, queues):
    """Queues the edge at the first neuron after that of the cut that cuts it."""
    words, signs = layer.words, growing.plus_bits
    _push(part, edge, cut.neuron, words, signs, words.column, growing.edges, queues)


@kernel
@no_type_check
def decide_signs(part, start, stop, layer, growing):
    """Packs the + signs of the layer's values at the vertices start..stop."""
    width = len(layer.threshold)
    for i in range(start, stop):
        for j in range(layer.words.num_words):
            word = np.uint32(0)
            for bit in range(min(32, width - 32 * j)):
                neuron = 32 * j + bit
                if growing.values[i, neuron] >= -layer.threshold[neuron]:
                    word |= np.uint32(1) << np.uint32(bit)
            growing.plus_bits[i, layer.words.column + j] = word


@kernel
@no_type_check
def gather_words(part, start, stop, done, words, growing, gathered):
    """Puts the words of both layers at the vertices start..stop side by side."""
    for i in range(start, stop):
        for j in range(done.num_words):
            gathered[i, j] = growing.plus_bits[i, done.column + j]
        for j in range(words.num_words):
            gathered[i, done.num_words + j] = growing.plus_bits[i, words.column + j]


@kernel
@no_type_check
def pass_over_edges(part, start, stop, done, words, gathered, growing, queues):
    """Adds the + signs of the layer that is ``done`` to the edges' keys, and queues each edge at
    the first neuron of the next layer, that of ``words``, that cuts it. Either may have no words.

    Block by block, first what all edges need and then the queueing: a branch on a word that is
    not in the cache yet would stop the loads behind it. The words come ``gathered``: many more of
    them fit the cache than rows of all layers' words.
    """
    edges, is_far = growing.edges, len(gathered) > IN_CACHE
    is_cut = np.empty(BLOCK, np.bool_)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        for edge in range(first, last):
            if is_far:
                ahead = min(edge + 3 * AHEAD, stop - 1)
                fetch_row(gathered, edges[ahead, 0])
                fetch_row(gathered, edges[ahead, 1])
            u, v = edges[edge, 0], edges[edge, 1]
            key = growing.edge_base[edge]
            for j in range(done.num_words):
                key += _key_of_word(gathered[u, j] | gathered[v, j], j, done)
            growing.edge_base[edge] = key
            cuts = np.uint32(0)
            for j in range(done.num_words, gathered.shape[1]):
                cuts |= gathered[u, j] ^ gathered[v, j]
            is_cut[edge - first] = cuts != 0
        for edge in range(first, last):
            if is_cut[edge - first]:
                _push(part, edge, -1, words, gathered, done.num_words, edges, queues)


@kernel
@no_type_check
def ends_differ(edges, is_plus):
    """Which edges have ends with different signs."""
    differ = np.empty(len(edges), np.bool_)
    for edge in range(len(edges)):
        differ[edge] = is_plus[edges[edge, 0]] != is_plus[edges[edge, 1]]
    return differ


@kernel
@no_type_check
def renumber(edges, kept, num_vertices):
    """The vertices of the edges that are kept, in order; these edges get the ends' new numbers."""
    place = np.zeros(num_vertices, np.int32)
    for edge in kept:
        place[edges[edge, 0]] = 1
        place[edges[edge, 1]] = 1
    vertices = np.empty(num_vertices, np.int64)
    count = 0
    for vertex in range(num_vertices):
        if place[vertex]:
            vertices[count] = vertex
            place[vertex] = count
            count += 1
    for edge in kept:
        edges[edge, 0] = place[edges[edge, 0]]
        edges[edge, 1] = place[edges[edge, 1]]
    return vertices[:count]


@kernel
@no_type_check
def collect(part, offsets, neuron, edges, queues):
    """Empties the part's queues of the neuron into ``edges``.

    The lists are walked side by side: a step along one waits for memory, and the others need not.
    """
    heads, counts, following = queues.heads, queues.counts, queues.following
    one = part * LISTS
    at, sizes, most = np.empty(LISTS, np.int64), np.empty(LISTS, np.int64), 0
    for k in range(LISTS):
        at[k], sizes[k] = heads[one + k, neuron], counts[one + k, neuron]
        most = max(most, sizes[k])
    for i in range(most):
        for k in range(LISTS):
            if i < sizes[k]:
                edges[offsets[one + k] + i] = at[k]
                at[k] = following[at[k]]
    for row in range(one, one + LISTS):
        heads[row, neuron] = -1
        counts[row, neuron] = 0


@kernel
@no_type_check
def split(part, start, stop, cut, layer, growing, queues):
    """Splits the edges start..stop of a cut and lists the keys of the 2-faces at each."""
    is_far = cut.first_vertex > IN_CACHE
    for i in range(start, stop):
        if is_far:
            _fetch_edge(cut.edges[min(i + 2 * AHEAD, stop - 1)], growing, queues)
            _fetch_ends(cut.edges[min(i + AHEAD, stop - 1)], growing)
        edge, new, half = cut.edges[i], cut.first_vertex + i, cut.first_edge + i
        u, v = growing.edges[edge, 0], growing.edges[edge, 1]
        _interpolate(u, v, new, cut.neuron, growing)
        key = growing.edge_base[edge] + _decide_new_signs(u, v, new, cut.neuron, layer, growing)

        growing.edges[edge, 1] = new
        growing.edges[half, 0], growing.edges[half, 1] = new, v
        growing.edge_base[half] = growing.edge_base[edge]
        _hand_on_zeros(i, edge, key, cut, layer, growing)
        _push_later(part, edge, cut, layer, growing, queues)
        _push_later(part, half, cut, layer, growing, queues)


@small_kernel
@no_type_check
def _fetch_edge(edge, growing, queues):
    """Has an edge's rows brought nearer."""
    fetch(queues.following, edge)
    fetch(growing.edge_base, edge)
    fetch_row(growing.edges, edge)
    fetch_row(growing.edge_zeros, edge)


@small_kernel
@no_type_check
def _fetch_ends(edge, growing):
    """Has the rows of an edge's ends brought nearer."""
    for end in range(2):
        vertex = growing.edges[edge, end]
        fetch_row(growing.positions, vertex)
        fetch_row(growing.plus_bits, vertex)
        fetch_row(growing.values, vertex)


@small_kernel
@no_type_check
def _interpolate(u, v, new, neuron, growing):
    """Position and values of the new vertex, where the neuron is 0 between u and v."""
    positions, values = growing.positions, growing.values
    one = values.dtype.type(1)
    at_u, at_v = values[u, neuron], values[v, neuron]
    if at_u == at_v:
        t = one if at_u > 0 else one - one
    else:
        t = min(max(at_u / (at_u - at_v), one - one), one)
    # Interpolated from the nearer end, as torch.lerp does.
    if t >= 0.5:
        near, far, t = v, u, one - t
    else:
        near, far = u, v
    for j in range(positions.shape[1]):
        x = positions[near, j]
        positions[new, j] = x + t * (positions[far, j] - x)
    for j in range(values.shape[1]):
        x = values[near, j]
        values[new, j] = x + t * (values[far, j] - x)
    values[new, neuron] = 0


@small_kernel
@no_type_check
def _decide_new_signs(u, v, new, neuron, layer, growing):
    """Packs the + signs of the new vertex between u and v.

    Returns what the + signs of the layer so far add to the key of the edge (u, v).
    """
    plus_bits, words = growing.plus_bits, layer.words
    own_word = neuron >> 5
    own_before = (np.uint32(1) << np.uint32(neuron & 31)) - np.uint32(1)
    own_later = ~(own_before | (own_before + np.uint32(1)))
    key = 0
    for column in range(plus_bits.shape[1]):
        # A neuron that is + at either end is + on the edge, and so inside it.
        at_u, at_v = plus_bits[u, column], plus_bits[v, column]
        either = at_u | at_v
        j = column - words.column
        if j < 0 or j >= words.num_words:
            plus_bits[new, column] = either
            continue
        before, later = np.uint32(0xFFFFFFFF), np.uint32(0)
        if j == own_word:
            before, later = own_before, own_later
        elif j > own_word:
            before, later = later, before
        # A neuron still to come may have changed sign there: only then the value decides.
        undecided = (at_u ^ at_v) & later
        word = (either & before) | (at_u & at_v & later)
        while undecided != 0:
            bit = _lowest_bit(undecided)
            lowest = np.uint32(1) << np.uint32(bit)
            undecided ^= lowest
            if growing.values[new, 32 * j + bit] >= -layer.threshold[32 * j + bit]:
                word |= lowest
        plus_bits[new, column] = word
        key += _key_of_word(either & before, j, words)
    return key


@small_kernel
@no_type_check
def _hand_on_zeros(i, edge, key, cut, layer, growing):
    """Zeros of the second half and of the new vertex, and the keys of the faces at the edge."""
    edge_zeros, vertex_zeros = growing.edge_zeros, growing.vertex_zeros
    new, half = cut.first_vertex + i, cut.first_edge + i
    num_zeros = edge_zeros.shape[1]
    for z in range(num_zeros):
        zero = edge_zeros[edge, z]
        edge_zeros[half, z] = zero
        vertex_zeros[new, z] = zero
        without = key - layer.zero_key[zero]
        # 0 stands for no face: nothing is on the outer side of a box plane.
        cut.face_keys[i, 2 * z] = (without or 1) if zero < layer.num_neurons else 0
        cut.face_keys[i, 2 * z + 1] = (without + layer.plus_key[zero]) or 1
    for choice in range(2 * num_zeros, cut.face_keys.shape[1]):
        cut.face_keys[i, choice] = 0
    vertex_zeros[new, num_zeros] = layer.first_neuron + cut.neuron


@kernel
@no_type_check
def pair(part, face_keys, pairs):
    """Finds equal face keys among the part's fraction of the keys, by open addressing."""
    parts, slots = pairs.waiting_key.shape
    waiting_key, waiting = pairs.waiting_key[part], pairs.waiting[part]
    mask, is_far = slots - 1, slots > IN_CACHE
    waiting_key[:] = 0
    num_found, num_unpaired = 0, 0
    flat, own = face_keys.ravel(), np.empty(KEYS, np.int64)
    for first in range(0, len(flat), KEYS):
        count = _list_own(part, parts, flat, first, own)
        for place in range(count):
            if is_far:
                at = (flat[own[min(place + AHEAD, count - 1)]] >> 8) & mask
                fetch(waiting_key, at)
                fetch(waiting, at)
            i = own[place]
            key = flat[i]
            at = (key >> 8) & mask
            while waiting_key[at] != 0 and waiting_key[at] != key:
                at = (at + 1) & mask
            if waiting_key[at] == 0:
                waiting_key[at], waiting[at] = key, i
                num_unpaired += 1
                if num_found + num_unpaired >= mask:
                    num_unpaired = -1  # half of the slots stay empty while keys are random
                    break
            elif waiting[at] >= 0:
                pairs.found[part, num_found, 0] = waiting[at]
                pairs.found[part, num_found, 1] = i
                waiting[at] = -1
                num_found += 1
                num_unpaired -= 1
            else:  # a third edge of one face
                num_unpaired = -1
                break
        if num_unpaired < 0:
            break
    pairs.num_found[part] = num_found
    pairs.num_unpaired[part] = num_unpaired


@small_kernel
@no_type_check
def _list_own(part, parts, flat, first, own):
    """Lists where the part's own keys are among ``KEYS`` of them from the first on, without a
    branch for each key. Returns how many they are."""
    count = 0
    for i in range(first, min(first + KEYS, len(flat))):
        own[count] = i
        count += (flat[i] != 0) & (flat[i] & (parts - 1) == part)
    return count


@kernel
@no_type_check
def join(part, offsets, found, cut, layer, growing, queues):
    """Adds the edges across the faces that the part ``found``: offsets[part] is its first one."""
    edges, edge_zeros = growing.edges, growing.edge_zeros
    num_zeros = edge_zeros.shape[1]
    own = layer.first_neuron + cut.neuron
    choices = num_choices(num_zeros)
    shift = _lowest_bit(np.uint32(choices))
    count, is_far = offsets[part + 1] - offsets[part], cut.first_vertex > IN_CACHE
    for i in range(count):
        if is_far:
            one, other = found[part, min(i + AHEAD, count - 1)]
            _fetch_pair(one >> shift, other >> shift, cut, layer, growing)
        new = offsets[part] + i
        one, other = found[part, i, 0], found[part, i, 1]
        # Both edges know the face; the second is read, for they come in its order. Its new half
        # has the same zeros and base, and lies next to the ones read before.
        index, turned, side = other >> shift, (other & (choices - 1)) >> 1, other & 1
        edge = cut.first_edge + index
        zero = edge_zeros[edge, turned]
        base = growing.edge_base[edge] - layer.zero_key[zero] + layer.zero_key[own]
        # Base keys hold finished layers; a zero of this layer becomes + through the words.
        if side == 1 and zero < layer.first_neuron:
            base += layer.plus_key[zero]
        edges[new, 0] = cut.first_vertex + (one >> shift)
        edges[new, 1] = cut.first_vertex + index
        at = 0
        for z in range(num_zeros):
            if z != turned:
                edge_zeros[new, at] = edge_zeros[edge, z]
                at += 1
        edge_zeros[new, at] = own
        growing.edge_base[new] = base
        _push_later(part, new, cut, layer, growing, queues)


@small_kernel
@no_type_check
def _fetch_pair(one, other, cut, layer, growing):
    """Has what joins two new vertices brought nearer."""
    edge, words = cut.first_edge + other, growing.plus_bits.shape[1]
    fetch(growing.edge_base, edge)
    fetch_row(growing.edge_zeros, edge)
    fetch(growing.plus_bits, (cut.first_vertex + one) * words + layer.words.column)
    fetch(growing.plus_bits, (cut.first_vertex + other) * words + layer.words.column)


@kernel
@no_type_check
def cut_while_small(neuron, stop, sizes, limits, layer, growing, queues, scratch):
    """Cuts by one neuron after the other, up to ``stop``, while cuts are small and there is room.

    In a small network most of the time would go by between the kernels. Returns the neuron to go
    on with, the numbers of vertices and edges, and whether all faces had their two edges.
    """
    lists = len(queues.counts)
    offsets = np.zeros(lists + 1, np.int64)
    is_consistent = True
    while neuron < stop:
        for row in range(lists):
            offsets[row + 1] = offsets[row] + queues.counts[row, neuron]
        count = offsets[lists]
        if count > len(scratch.edges) or not _has_room(count, sizes, limits, growing):
            break
        if count > 0:
            for part in range(lists // LISTS):
                collect(part, offsets, neuron, scratch.edges, queues)
            face_keys = scratch.face_keys[:count]
            cut = Cut(neuron, sizes.vertices, sizes.edges, scratch.edges, face_keys)
            sizes, is_consistent = _cut_edges(cut, layer, growing, queues, scratch.pairs)
            if not is_consistent:
                break
        neuron += 1
    return neuron, sizes, is_consistent


@kernel
@no_type_check
def _has_room(count, sizes, limits, growing):
    """Whether there is room for what cutting so many edges can add."""
    vertices = sizes.vertices + count
    edges = sizes.edges + count * growing.positions.shape[1]
    needed = vertices * limits.row_bytes.vertices + edges * limits.row_bytes.edges
    has_rows = vertices <= limits.room.vertices and edges <= limits.room.edges
    return has_rows and needed <= limits.max_bytes


@kernel
@no_type_check
def _cut_edges(cut, layer, growing, queues, pairs):
    """Splits the edges of a cut and joins the new vertices across the faces, all in one part.

    Returns the new numbers of vertices and edges, and whether all faces had their two edges.
    """
    count, num_zeros = len(cut.face_keys), growing.edge_zeros.shape[1]
    split(0, 0, count, cut, layer, growing, queues)
    slots = num_slots(count * num_zeros)
    waiting_key = pairs.waiting_key.ravel()[:slots].reshape(1, slots)
    waiting = pairs.waiting.ravel()[:slots].reshape(1, slots)
    pairs = Pairs(waiting_key, waiting, pairs.found, pairs.num_found, pairs.num_unpaired)
    pair(0, cut.face_keys, pairs)
    unpaired = pairs.num_unpaired[0]
    is_consistent = unpaired == 0 or (unpaired > 0 and growing.is_partial)
    vertices, edges = cut.first_vertex + count, cut.first_edge + count
    if is_consistent:
        offsets = np.array([edges, edges + pairs.num_found[0]])
        join(0, offsets, pairs.found, cut, layer, growing, queues)
        edges = offsets[1]
    return Sizes(vertices, edges), is_consistent


@kernel
@no_type_check
def num_choices(num_zeros):
    """Room for a side of each zero: a power of two, so that shifts take positions apart."""
    choices = 1
    while choices < 2 * num_zeros:
        choices *= 2
    return choices


@kernel
@no_type_check
def num_slots(num_keys):
    """Slots of a hash table for so many keys, each of which comes twice: a power of two."""
    slots = 1
    while slots <= 2 * num_keys + 256:
        slots *= 2
    return slots
