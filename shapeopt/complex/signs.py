"""Packed sign-vectors, and 64-bit keys that tell cells apart.

A cell's sign-vector has -1, 0 or +1 for every constraint. Neurons come first, layer by layer; the
2 d planes of the box come after them (axis by axis, lower plane first) and are only ever 0 or +
inside the box. The + signs are packed, 32 neurons to an int32 word, each layer starting a new
word; the zeros, at most d of them, are listed by index.

The key of a cell is a Zobrist hash: ``sum of R over its + neurons + sum of Q over its zeros``
modulo 2^64, with random R and Q per constraint. Changing one sign changes the key by a few
additions, whatever the number of neurons. Two of n cells share a key with probability
n^2 / 2^65: 1e-5 for 20 million cells.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Int32, Int64, Shaped
from torch import Tensor

WORD_BITS = 32

BYTES_AT_A_TIME = 1 << 17
"""Bytes of packed signs that are looked up at once, at 16 bytes each: they stay in the cache."""


@dataclass(frozen=True)
class Constraints:
    """How a network's neurons and the box planes are numbered.

    Attributes:
        widths: neurons in each layer, the output layer last.
        dimension: of the input space.
    """

    widths: tuple[int, ...]
    dimension: int

    @property
    def num_neurons(self) -> int:
        """All neurons, the output included."""
        return sum(self.widths)

    @property
    def output(self) -> int:
        """Index of the (last) output."""
        return self.num_neurons - 1

    @property
    def num_constraints(self) -> int:
        """Neurons and box planes."""
        return self.num_neurons + 2 * self.dimension

    @property
    def index_dtype(self) -> torch.dtype:
        """Smallest integer type that holds every constraint index."""
        return torch.int16 if self.num_constraints < 2**15 else torch.int32

    def first_neuron(self, layer: int) -> int:
        """Index of the layer's first neuron."""
        return sum(self.widths[:layer])

    def words(self, layer: int) -> slice:
        """The columns of the packed signs that belong to the layer."""
        start = sum(num_words(width) for width in self.widths[:layer])
        return slice(start, start + num_words(self.widths[layer]))

    @property
    def num_words(self) -> int:
        """Columns of the packed signs."""
        return sum(num_words(width) for width in self.widths)


def num_words(width: int) -> int:
    """Words that hold one bit for each of ``width`` neurons."""
    return -(-width // WORD_BITS)


def pack(bits: Bool[Tensor, "n width"]) -> Int32[Tensor, "n words"]:
    """Packs 32 booleans into a word, the first into the lowest bit."""
    rows, width = bits.shape
    words = num_words(width)
    if words > 1 and width % WORD_BITS:
        bits = torch.nn.functional.pad(bits, (0, words * WORD_BITS - width))
    of_word = bits.view(rows, words, min(width, WORD_BITS))
    powers = _powers_of_two(bits.device)[: of_word.shape[2]]
    return (of_word * powers).sum(dim=2, dtype=torch.int32)


@lru_cache(maxsize=8)
def _powers_of_two(device: torch.device) -> Int32[Tensor, "32"]:
    """The bits of a word, each by itself."""
    return (1 << torch.arange(WORD_BITS, device=device)).to(torch.int32)


def unpack(
    words: Int32[Tensor, "n words"], width: int, dtype: torch.dtype = torch.bool
) -> Shaped[Tensor, "n width"]:
    """Inverse of :func:`pack`: True, or 1 of another type, for each bit that is set."""
    octets = words.contiguous().view(torch.uint8).flatten().int()
    bits = _octet_bits(dtype, words.device).index_select(0, octets)
    return bits.view(len(words), WORD_BITS * words.shape[1])[:, :width]


@lru_cache(maxsize=8)
def _octet_bits(dtype: torch.dtype, device: torch.device) -> Shaped[Tensor, "256 8"]:
    """The bits of every byte, the lowest first: unpacking by table is fastest on a CPU."""
    octets = torch.arange(256, dtype=torch.uint8, device=device)
    return ((octets[:, None] >> octets[:8]) & 1).to(dtype)


def active_neurons(
    packed: Int32[Tensor, "n words"], constraints: Constraints, dtype: torch.dtype
) -> list[Shaped[Tensor, "n _"]]:
    """1 for each + neuron and 0 for the others, ``[n, width]`` for each hidden layer."""
    columns = [constraints.words(layer) for layer in range(len(constraints.widths) - 1)]
    layers = list(zip(columns, constraints.widths, strict=False))
    if packed.device.type == "cpu":  # it is faster with rows that follow each other
        return [unpack(packed[:, words], width, dtype) for words, width in layers]
    bits = unpack(packed, WORD_BITS * packed.shape[1], dtype)
    return [bits[:, WORD_BITS * words.start :][:, :width] for words, width in layers]


class BitPositions(NamedTuple):
    """Where each constraint's sign is in packed signs; box planes have no bit.

    Attributes:
        words: the column that holds it.
        bits: the word with its bit alone set, 0 for a box plane.
    """

    words: Int64[Tensor, "constraints"]
    bits: Int32[Tensor, "constraints"]


@lru_cache(maxsize=8)
def bit_positions(constraints: Constraints, device: torch.device) -> BitPositions:
    """Made once per architecture."""
    words, bits = [], []
    for layer, width in enumerate(constraints.widths):
        position = torch.arange(width)
        words.append(constraints.words(layer).start + position // WORD_BITS)
        bits.append((1 << position % WORD_BITS).to(torch.int32))
    planes = torch.zeros(2 * constraints.dimension, dtype=torch.int64)
    return BitPositions(
        torch.cat([*words, planes]).to(device),
        torch.cat([*bits, planes.to(torch.int32)]).to(device),
    )


def with_plus(
    packed: Int32[Tensor, "n words"], neurons: Int[Tensor, "n"], constraints: Constraints
) -> Int32[Tensor, "n words"]:
    """The packed signs with one more neuron set to + in each row; box planes change nothing."""
    return packed | _bits_of(neurons.long()[:, None], packed, constraints)


def without_plus(
    packed: Int32[Tensor, "n words"], chosen: Int64[Tensor, "n k"], constraints: Constraints
) -> Int32[Tensor, "n words"]:
    """The packed signs with none of the row's chosen constraints +, which are distinct."""
    return packed & ~_bits_of(chosen, packed, constraints)


def flipped(
    packed: Int32[Tensor, "n words"], neurons: Int64[Tensor, "n"], constraints: Constraints
) -> Int32[Tensor, "n words"]:
    """The packed signs with that of one neuron per row turned."""
    return packed ^ _bits_of(neurons[:, None], packed, constraints)


def _bits_of(
    chosen: Int64[Tensor, "n k"], packed: Int32[Tensor, "n words"], constraints: Constraints
) -> Int32[Tensor, "n words"]:
    """Packed signs in which the chosen constraints of each row, which are distinct, alone are +."""
    at = bit_positions(constraints, packed.device)
    return torch.zeros_like(packed).scatter_add_(1, at.words[chosen], at.bits[chosen])


def sign_vectors(
    packed: Int32[Tensor, "n words"], zeros: Int[Tensor, "n k"], constraints: Constraints
) -> Int[Tensor, "n all_constraints"]:
    """Readable sign-vectors, int8 of -1, 0, +1: neurons layer by layer, then the box planes."""
    layers = [
        unpack(packed[:, constraints.words(i)], width) for i, width in enumerate(constraints.widths)
    ]
    inside_box = torch.ones(
        len(packed), 2 * constraints.dimension, dtype=torch.bool, device=packed.device
    )
    positive = torch.cat([*layers, inside_box], dim=1)
    return (positive.to(torch.int8) * 2 - 1).scatter_(1, zeros.long(), 0)


class ZobristKeys:
    """The random numbers of the cell keys. The same for equal networks, on every device."""

    def __init__(self, constraints: Constraints, device: torch.device):
        generator = torch.Generator().manual_seed(0x5EED)
        shape = (2, constraints.num_constraints)
        low, high = -(2**63), 2**63 - 1
        numbers = torch.randint(low, high, shape, generator=generator, dtype=torch.int64)
        # A + at a box plane is the rule inside the box and adds nothing.
        numbers[0, constraints.num_neurons :] = 0
        self.plus, self.zero = numbers.to(device)
        self.tables = [self._byte_tables(constraints, i) for i in range(len(constraints.widths))]
        self.of_bytes = torch.cat(self.tables)
        self._starts = 256 * torch.arange(len(self.of_bytes), device=device)

    def _byte_tables(self, constraints: Constraints, layer: int) -> Int64[Tensor, "bytes 256"]:
        """For each byte of the layer's words: the key of each of its 256 bit patterns."""
        width = constraints.widths[layer]
        first = constraints.first_neuron(layer)
        numbers = self.plus.new_zeros(num_words(width) * WORD_BITS)
        numbers[:width] = self.plus[first : first + width]
        patterns = _octet_bits(torch.int64, numbers.device)
        return (patterns * numbers.view(-1, 1, 8)).sum(dim=2)

    def of_words(self, words: Int32[Tensor, "n words"], layer: int) -> Int64[Tensor, "n"]:
        """The part of the key that the layer's + signs make."""
        return self._sum_over_bytes(words, self.tables[layer])

    def of_cells(
        self,
        packed: Int32[Tensor, "n words"],
        zeros: Int[Tensor, "n k"],
        constraints: Constraints,
    ) -> Int64[Tensor, "n"]:
        """Keys of cells given by their packed + signs and their zeros."""
        return self._sum_over_bytes(packed, self.of_bytes) + self.zero[zeros.long()].sum(dim=1)

    def _sum_over_bytes(
        self, words: Int32[Tensor, "n words"], table: Int64[Tensor, "bytes 256"]
    ) -> Int64[Tensor, "n"]:
        """The sum of what the table has for each byte of a row."""
        rows = BYTES_AT_A_TIME // len(table)
        if len(words) > rows:
            return torch.cat([self._sum_over_bytes(part, table) for part in words.split(rows)])
        octets = words.contiguous().view(torch.uint8)
        places = octets + self._starts[: len(table)]
        return table.flatten().index_select(0, places.flatten()).view(places.shape).sum(dim=1)


@lru_cache(maxsize=8)
def zobrist_keys(constraints: Constraints, device: torch.device) -> ZobristKeys:
    """Made once per architecture: it takes as long as a small step of tracing."""
    return ZobristKeys(constraints, device)
