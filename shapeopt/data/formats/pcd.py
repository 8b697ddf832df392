"""PCD, the point cloud library's format: text, binary and packed binary."""

import logging
from pathlib import Path

import numpy as np

from shapeopt.data.formats.raw import RawCloud
from shapeopt.errors import InputError

logger = logging.getLogger(__name__)

KEYS = ("VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS")
TYPES = {"F4", "F8", "I1", "I2", "I4", "I8", "U1", "U2", "U4", "U8"}


def read_pcd(path: Path) -> RawCloud:
    """A cloud, with its normals; points that are NaN, as where a scanner saw nothing, are left out.

    Raises:
        InputError: other numbers of points or bytes than the header says.
    """
    header, kind, body = _split(path.read_bytes())
    dtype = _row(header)
    count = _number(header, "POINTS")
    if _number(header, "WIDTH") * _number(header, "HEIGHT") != count:
        raise InputError("its header is damaged: WIDTH times HEIGHT is not POINTS")
    read = {"ascii": _text, "binary": _binary, "binary_compressed": _packed}.get(kind)
    if read is None:
        raise InputError(f"its data is {kind[:30]!r}; known are ascii, binary, binary_compressed")
    table = read(body, dtype, count)
    points = _stacked(table, ("x", "y", "z"))
    if points is None:
        raise InputError("has no x, y and z")
    normals = _stacked(table, ("normal_x", "normal_y", "normal_z"))
    seen: np.ndarray = ~np.isnan(points).all(axis=1)
    if not seen.all():
        logger.info("%d of %d points are NaN and are left out.", (~seen).sum(), len(seen))
    return RawCloud(points[seen], None if normals is None else normals[seen])


def _stacked(table: "Table", names: tuple[str, ...]) -> np.ndarray | None:
    columns = [table[name] for name in names if name in table and table[name].shape[1] == 1]
    return np.concatenate(columns, axis=1).astype(np.float64) if len(columns) == 3 else None


def _split(data: bytes) -> tuple[dict[str, list[str]], str, bytes]:
    header: dict[str, list[str]] = {}
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        if end < 0:
            break
        words = data[at:end].decode("ascii", errors="replace").split()
        at = end + 1
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "DATA" and len(words) == 2:
            return header, words[1].lower(), data[at:]
        if words[0] not in KEYS:
            break
        header[words[0]] = words[1:]
    raise InputError("no PCD header with a DATA line; not a PCD file, or cut short")


def _number(header: dict[str, list[str]], key: str) -> int:
    match header.get(key):
        case [number] if number.isascii() and number.isdigit():
            return int(number)
    raise InputError(f"its header says no {key}; damaged?")


def _row(header: dict[str, list[str]]) -> np.dtype:
    """The fields of a point, each with as many numbers as COUNT says."""
    names = header.get("FIELDS", [])
    types = [
        t.upper() + s for t, s in zip(header.get("TYPE", []), header.get("SIZE", []), strict=False)
    ]
    counts = header.get("COUNT", ["1"] * len(names))
    numbers = [int(count) if count.isascii() and count.isdigit() else 0 for count in counts]
    if not names or not len(names) == len(types) == len(numbers) or set(types) - TYPES:
        raise InputError("its FIELDS, SIZE, TYPE and COUNT do not fit together; damaged?")
    if not all(0 < number < 10_000 for number in numbers):
        raise InputError("its COUNT is not a positive number for each field; damaged?")
    # Padding fields are all called `_`.
    unique = [name if name != "_" else f"_{i}" for i, name in enumerate(names)]
    if len(set(unique)) < len(unique):
        raise InputError("its FIELDS name one twice; damaged?")
    fields = zip(unique, types, numbers, strict=True)
    return np.dtype([(name, "<" + kind.lower(), (number,)) for name, kind, number in fields])


Table = dict[str, np.ndarray]
"""Field -> [n, count]."""


def _text(body: bytes, dtype: np.dtype, count: int) -> Table:
    text = body.decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    widths = [dtype[name].shape[0] for name in dtype.names or ()]
    if len(lines) != count:
        raise InputError(f"cut short: the header promises {count} points, {len(lines)} are there")
    try:
        rows = np.loadtxt(lines, ndmin=2, comments=None) if lines else np.zeros((0, sum(widths)))
    except ValueError as error:
        raise InputError(
            f"not the same count of numbers in each line, or cut short ({error})"
        ) from error
    if rows.shape[1] != sum(widths):
        raise InputError(f"its rows have {rows.shape[1]} numbers, and the header {sum(widths)}")
    parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
    return dict(zip(dtype.names or (), parts, strict=True))


def _binary(body: bytes, dtype: np.dtype, count: int) -> Table:
    if len(body) < count * dtype.itemsize:
        held = len(body) // dtype.itemsize
        raise InputError(f"cut short: the header promises {count} points, {held} are there")
    if body[count * dtype.itemsize :].strip(b"\0\r\n "):
        raise InputError(f"goes on after the {count} points that the header promises; damaged?")
    rows = np.frombuffer(body, dtype, count)
    return {name: rows[name] for name in dtype.names or ()}


def _packed(body: bytes, dtype: np.dtype, count: int) -> Table:
    """All numbers of one field, then those of the next, packed by LZF."""
    packed, size = (int.from_bytes(body[i : i + 4], "little") for i in (0, 4))
    if len(body) < 8 + packed or size != count * dtype.itemsize:
        raise InputError("damaged or cut short: the packed part has not the size the header says")
    data = _unpacked(body[8 : 8 + packed], size)
    table, at = {}, 0
    for name in dtype.names or ():
        kind, shape = dtype[name].subdtype  # type: ignore[misc]
        table[name] = np.frombuffer(data, kind, count * shape[0], at).reshape(count, shape[0])
        at += count * dtype[name].itemsize
    return table


def _unpacked(data: bytes, size: int) -> bytes:
    """LZF: a byte below 32 says how many bytes come as they are, others what to repeat."""
    out = bytearray()
    at = 0
    try:
        while at < len(data) and len(out) <= size:
            control = data[at]
            at += 1
            if control < 32:
                if at + control + 1 > len(data):
                    raise IndexError
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length, at = length + data[at], at + 1
            start = len(out) - ((control & 31) << 8) - data[at] - 1
            at += 1
            if start < 0:
                raise IndexError
            for i in range(start, start + length + 2):
                out.append(out[i])
    except IndexError:
        raise InputError("the packed part is damaged or cut short") from None
    if len(out) != size:
        raise InputError("the packed part is damaged or cut short")
    return bytes(out)
