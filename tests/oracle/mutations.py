"""Damage to files: bytes, lines and numbers, and what lies packed inside of containers."""

import io
import re
import struct
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

WORDS = (b"nan", b"inf", b"-inf", b"1e308", b"-1e308", b"1e-320", b"-1", b"0", b"1", b"3")
WORDS += (b"255", b"65536", b"2147483647", b"-2147483648", b"4294967295", b"9223372036854775807")
WORDS += (b"99999999999999999999", b"", b"-", b"1_0", b"0x10", b"\xc3\xa9", b"1,5", b"[]", b"null")
NUMBERS = [struct.pack("<i", n) for n in (-1, 0, 1, 2**31 - 1, -(2**31), 10**6)]
NUMBERS += [struct.pack("<f", x) for x in (np.nan, np.inf, -np.inf, 3e38, 1e-44, -1.0)]
NUMBERS += [struct.pack("<d", x) for x in (np.nan, np.inf, 1e308, 1e-320)]
NUMBERS += [struct.pack("<q", n) for n in (-1, 2**63 - 1, 2**40)]
Rng = np.random.Generator


def mutated(data: bytes, suffix: str, others: Sequence[bytes], number: int) -> bytes:
    """The file with some damage, the same each time for the same number.

    Args:
        data: a whole file.
        suffix: its kind.
        others: files of the same kind, to be mixed in.
        number: of the damage.
    """
    rng = np.random.default_rng(number)
    inside = INSIDE.get(suffix)
    # Damage to packed files is found by their sums: half of it is done before packing.
    if inside is not None and rng.random() < 0.5:
        return inside(data, rng)
    return damaged(data, rng, others)


def damaged(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Most often one kind of damage, or up to four, one upon the other."""
    for _ in range(min(int(rng.geometric(0.6)), 4)):
        kinds = KINDS if others else KINDS[:-1]
        data = kinds[rng.integers(len(kinds))](data, rng, others)
    return data


def _place(data: bytes, rng: Rng) -> int:
    """Anywhere, or near the beginning, where the headers are."""
    return int(rng.integers(max(len(data) if rng.random() < 0.6 else min(len(data), 200), 1)))


def _span(data: bytes, rng: Rng) -> tuple[int, int]:
    start = _place(data, rng)
    return start, start + int(2 ** rng.uniform(0, 8))


def _flip(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    array = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        if array:
            array[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(array)


def _replace(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    array = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if array:
            array[_place(data, rng)] = int(rng.integers(256))
    return bytes(array)


def _cut(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _remove(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def _double(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    start, stop = _span(data, rng)
    return data[:stop] + data[start:stop] * int(rng.integers(1, 4)) + data[stop:]


def _insert(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.bytes(int(rng.integers(1, 20))) + data[at:]


def _write_number(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    """A number in binary over what is there."""
    number, at = NUMBERS[rng.integers(len(NUMBERS))], _place(data, rng)
    at = at // 4 * 4 if rng.random() < 0.7 else at
    return data[:at] + number + data[at + len(number) :]


def _change_word(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    """A number in text becomes another."""
    found = list(re.finditer(rb"[-+\w.]+", data[:20_000]))
    if not found:
        return data
    which = found[int(rng.integers(len(found) if rng.random() < 0.6 else min(len(found), 40)))]
    return data[: which.start()] + WORDS[rng.integers(len(WORDS))] + data[which.end() :]


def _swap_lines(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    i, j = rng.integers(len(lines), size=2)
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def _double_line(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    i = int(rng.integers(len(lines)))
    return b"\n".join(lines[:i] + lines[i : i + 1] * int(rng.integers(0, 4)) + lines[i + 1 :])


def _mix(data: bytes, rng: Rng, others: Sequence[bytes]) -> bytes:
    """The beginning of this file and the end of another."""
    other = others[rng.integers(len(others))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


KINDS: tuple[Callable[[bytes, Rng, Sequence[bytes]], bytes], ...] = (
    *(_flip, _replace, _cut, _remove, _double, _insert, _write_number),
    *(_change_word, _change_word, _swap_lines, _double_line, _mix),
)


def _in_zip(data: bytes, rng: Rng) -> bytes:
    """Damage to one part; the sums are right again."""
    if not data.startswith(b"PK"):
        return damaged(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = [(info, archive.read(info)) for info in archive.infolist()]
    which = int(rng.integers(len(parts)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (info, content) in enumerate(parts):
            content = damaged(content, rng) if i == which else content
            archive.writestr(info.filename, content, info.compress_type)
    return buffer.getvalue()


def _in_glb(data: bytes, rng: Rng) -> bytes:
    """Damage to the description or the numbers; the lengths are right again."""
    size = int.from_bytes(data[12:16], "little")
    text, binary = data[20 : 20 + size], data[28 + size :]
    if rng.random() < 0.7:
        text = damaged(text, rng)
    else:
        binary = damaged(binary, rng)
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    total = 28 + len(text) + len(binary)
    head = struct.pack("<4sIII4s", b"glTF", 2, total, len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


INSIDE: dict[str, Callable[[bytes, Rng], bytes]] = {
    "npz": _in_zip,
    "3mf": _in_zip,
    "pt": _in_zip,
    "glb": _in_glb,
}
