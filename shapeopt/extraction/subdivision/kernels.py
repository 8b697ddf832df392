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

from shapeopt.extraction.compiled import PARTS, kernel

SMALL_CUT = 4096
"""Cuts of up to so many edges are done in one part: handing work to threads would cost more."""
BLOCK = 32
"""Edges whose rows are loaded ahead; they must fit the first-level cache."""
LISTS = 4
"""Queues emptied side by side; divides the number of parts."""


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
def decide_signs(part, start, stop, values, threshold, signs, column):
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
def pass_over_edges(part, start, stop, edges, signs, done, edge_base, column, words, queues):
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
def collect(group, offsets, neuron, queues, cut):
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
def split(
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
def pair(part, parts, count, face_keys, tables, slots, pairs, num_pairs, unpaired):
    """Finds equal face keys among the part's fraction of the keys, by open addressing.

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
def join(
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
def cut_while_small(
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
                collect(group, offsets, neuron, queues, cut)
            first = vertices, num_edges
            keys_of_cut = face_keys[:count]
            split(
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
            slots = table_size(count * (dimension - 1))
            pair(
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
            join(0, new_edges, pairs, neuron, first[0], first[1], layer, keys, skeleton, queues)
            num_edges = new_edges[1]
        neuron += 1
    return neuron, vertices, num_edges, True


@kernel
@no_type_check
def table_size(num_keys):
    """Slots of a hash table for so many keys, each of which comes twice: a power of two."""
    slots = 1
    while slots <= 2 * num_keys + 256:
        slots *= 2
    return slots
