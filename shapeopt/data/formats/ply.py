"""PLY: text or binary, any elements in any order (Turk, *The PLY polygon file format*, 1994)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import error as StructError
from struct import unpack_from

import numpy as np

from shapeopt.data.formats.raw import Polygons, RawCloud, cloud_or_mesh, whole_numbers
from shapeopt.errors import InputError

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
NORMALS = (
    ("nx", "ny", "nz"),
    ("normal_x", "normal_y", "normal_z"),
    ("normalx", "normaly", "normalz"),
    ("n_x", "n_y", "n_z"),
    ("scalar_nx", "scalar_ny", "scalar_nz"),
)
LISTS = ("vertex_indices", "vertex_index")


@dataclass
class Property:
    """A column: a number in each row, or a list of numbers after their count."""

    name: str
    type: str
    count_type: str = ""  # of lists alone


@dataclass
class Element:
    """A table of the file."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        return any(p.count_type for p in self.properties)


Column = np.ndarray | Polygons
"""Numbers [n]; or lists, each of its own length."""


def read_ply(path: Path) -> RawCloud:
    """A cloud, or a mesh of the element `face` or `tristrips`.

    Raises:
        InputError: rows that the header promises and that are not there, or the other way round.
    """
    data = path.read_bytes()
    order, elements, comments, start = _header(data)
    tables = (_text if order == "" else _binary)(data[start:], elements, order)
    if "vertex" not in tables:
        raise InputError("its header has no element `vertex`")
    vertex = {name.lower(): column for name, column in tables["vertex"].items()}
    points = _stacked(vertex, ("x", "y", "z"))
    if points is None:
        raise InputError("its vertices have no x, y and z")
    normals = (_stacked(vertex, names) for names in NORMALS)
    found = next((n for n in normals if n is not None), None)
    return cloud_or_mesh(points, _polygons(tables), found, comments)


def _stacked(table: dict[str, Column], names: tuple[str, ...]) -> np.ndarray | None:
    columns = [table.get(name) for name in names]
    if any(not isinstance(column, np.ndarray) for column in columns):
        return None
    return np.stack(columns, axis=1).astype(np.float64)  # type: ignore[arg-type]


def _polygons(tables: dict[str, dict[str, Column]]) -> Polygons:
    found = []
    for element in ("face", "tristrips"):
        lists = [
            column
            for name, column in tables.get(element, {}).items()
            if name.lower() in LISTS and isinstance(column, Polygons)
        ]
        if tables.get(element) is not None and not lists:
            raise InputError(f"its element `{element}` has no list `vertex_indices`")
        found += [_from_strips(lists[0]) if element == "tristrips" else lists[0]] if lists else []
    return Polygons(
        np.concatenate([np.zeros(0, np.int64), *(p.sizes for p in found)]),
        np.concatenate([np.zeros(0, np.int64), *(p.corners for p in found)]),
    )


def _from_strips(strips: Polygons) -> Polygons:
    """Triangles of strips, which -1 ends; every other triangle runs the other way round."""
    triangles = []
    for strip in np.split(strips.corners, np.cumsum(strips.sizes)[:-1]):
        for part in np.split(strip, np.flatnonzero(strip == -1)):
            part = part[part != -1]
            for i in range(len(part) - 2):
                a, b, c = part[i : i + 3].tolist()
                if a != b and b != c and c != a:
                    triangles.append((b, a, c) if i % 2 else (a, b, c))
    return Polygons.of(triangles)


def _header(data: bytes) -> tuple[str, list[Element], tuple[str, ...], int]:
    """Byte order ("" for text), the elements, the comments, and where the header ends."""
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise InputError("no PLY header with an end_header line; not a PLY file, or cut short")
    order: str | None = None
    elements: list[Element] = []
    comments: list[str] = []
    for line in data[:end].decode("utf-8", errors="replace").splitlines()[1:]:
        words = line.split()
        match words:
            case ["comment", *rest]:
                comments.append(" ".join(rest))
            case ["format", kind, "1.0"] if kind in ORDERS:
                order = ORDERS[kind]
            case ["element", name, rows] if rows.isascii() and rows.isdigit():
                elements.append(Element(name, int(rows)))
            case ["property", "list", count, kind, name] if elements:
                elements[-1].properties.append(Property(name, _type(kind), _type(count)))
            case ["property", kind, name] if elements:
                elements[-1].properties.append(Property(name, _type(kind)))
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise InputError(f"its header has a line that is not PLY: {line[:60]!r}")
    if order is None:
        raise InputError("its header does not say ascii, binary_little_endian or binary_big_endian")
    if len({e.name for e in elements}) < len(elements):
        raise InputError("its header has an element twice")
    for element in elements:
        names = [p.name for p in element.properties]
        if not names or len(set(names)) < len(names):
            raise InputError(f"its header gives `{element.name}` no column, or one twice")
    start = end + len(b"end_header")
    start += 2 if data[start : start + 2] == b"\r\n" else 1
    return order, elements, tuple(comments), start


def _type(name: str) -> str:
    if name not in TYPES:
        raise InputError(f"its header has a type that is not PLY's: {name[:30]!r}")
    return TYPES[name]


def _short(element: Element, held: int) -> InputError:
    return InputError(
        f"cut short: the header promises {element.rows} {element.name} rows, {held} are there"
    )


def _binary(data: bytes, elements: list[Element], order: str) -> dict[str, dict[str, Column]]:
    tables: dict[str, dict[str, Column]] = {}
    at = 0
    for element in elements:
        read = _binary_lists if element.has_lists else _binary_numbers
        tables[element.name], at = read(data, at, element, order)
    if data[at:].strip():
        raise InputError(
            f"{len(data) - at} bytes are left after all rows that the header promises; damaged?"
        )
    return tables


def _binary_numbers(
    data: bytes, at: int, element: Element, order: str
) -> tuple[dict[str, Column], int]:
    dtype = np.dtype([(str(i), order + p.type) for i, p in enumerate(element.properties)])
    if dtype.itemsize * element.rows > len(data) - at:
        raise _short(element, (len(data) - at) // dtype.itemsize)
    rows = np.frombuffer(data, dtype, element.rows, at)
    columns: dict[str, Column] = {p.name: rows[str(i)] for i, p in enumerate(element.properties)}
    return columns, at + dtype.itemsize * element.rows


def _binary_lists(
    data: bytes, at: int, element: Element, order: str
) -> tuple[dict[str, Column], int]:
    """All at once where every list is as long as that of the first row, or row by row."""
    if element.rows and (uniform := _uniform_row(data, at, element, order)) is not None:
        rows = np.frombuffer(data, uniform, element.rows, at)
        if all((rows[f"c{i}"] == rows[f"c{i}"][0]).all() for i in _lists(element)):
            flat = [rows[str(i)].reshape(-1) for i in range(len(element.properties))]
            sizes = [np.full(element.rows, rows[str(i)].shape[1]) for i in range(len(flat))]
            return _columns(element, sizes, flat), at + uniform.itemsize * element.rows
    numbers: list[list[int | float]] = [[] for _ in element.properties]
    counts: list[list[int]] = [[] for _ in element.properties]
    for row in range(element.rows):
        for i, prop in enumerate(element.properties):
            try:
                count = 1
                if prop.count_type:
                    (count,) = unpack_from(order + CODES[prop.count_type], data, at)
                    at += int(prop.count_type[1])
                if not 0 <= count <= len(data) - at:
                    raise _short(element, row)
                numbers[i] += unpack_from(f"{order}{count}{CODES[prop.type]}", data, at)
            except StructError:
                raise _short(element, row) from None
            counts[i].append(count)
            at += count * int(prop.type[1])
    return _columns(
        element, [np.array(c, np.int64) for c in counts], list(map(np.array, numbers))
    ), at


def _lists(element: Element) -> list[int]:
    return [i for i, p in enumerate(element.properties) if p.count_type]


def _uniform_row(data: bytes, at: int, element: Element, order: str) -> np.dtype | None:
    """The layout of the first row, if the file is long enough for all rows to have it."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    size = 0
    for i, prop in enumerate(element.properties):
        count = 1
        if prop.count_type:
            try:
                (count,) = unpack_from(order + CODES[prop.count_type], data, at + size)
            except StructError:
                return None
            fields.append((f"c{i}", order + prop.count_type, ()))
            size += int(prop.count_type[1])
        size += max(count, 0) * int(prop.type[1])
        if count < 0 or size * element.rows > len(data) - at:
            return None
        fields.append((str(i), order + prop.type, (count,)))
    return np.dtype(fields)


def _columns(
    element: Element, sizes: Sequence[np.ndarray], numbers: Sequence[np.ndarray]
) -> dict[str, Column]:
    """By name: columns of numbers as they are, and the lists that are polygons."""
    columns: dict[str, Column] = {}
    for prop, size, values in zip(element.properties, sizes, numbers, strict=True):
        if not prop.count_type:
            columns[prop.name] = values
        elif prop.name.lower() in LISTS:
            columns[prop.name] = Polygons(size, whole_numbers(values, prop.name))
    return columns


def _text(data: bytes, elements: list[Element], _: str) -> dict[str, dict[str, Column]]:
    lines = [line for line in data.decode("ascii", errors="replace").splitlines() if line.strip()]
    tables: dict[str, dict[str, Column]] = {}
    at = 0
    for element in elements:
        rows = lines[at : at + element.rows]
        if len(rows) < element.rows:
            raise _short(element, len(rows))
        tables[element.name] = (_text_lists if element.has_lists else _text_numbers)(rows, element)
        at += element.rows
    if at < len(lines):
        raise InputError(f"{len(lines) - at} lines are left after all rows of the header; damaged?")
    return tables


def _text_numbers(lines: list[str], element: Element) -> dict[str, Column]:
    width = len(element.properties)
    rows = np.zeros((0, width))
    if lines:
        try:
            rows = np.loadtxt(lines, ndmin=2, comments=None)
        except ValueError as error:
            raise InputError(
                f"its {element.name} rows are not {width} numbers each, cut short? ({error})"
            ) from error
    if rows.shape[1] != width:
        raise InputError(
            f"its {element.name} rows have {rows.shape[1]} numbers and not {width}, as the header "
            "says; damaged or cut short?"
        )
    return {p.name: rows[:, i] for i, p in enumerate(element.properties)}


def _text_lists(lines: list[str], element: Element) -> dict[str, Column]:
    numbers: list[list[float]] = [[] for _ in element.properties]
    sizes: list[list[int]] = [[] for _ in element.properties]
    for row, line in enumerate(lines):
        try:
            values = list(map(float, line.split()))
            at = 0
            for i, prop in enumerate(element.properties):
                count = 1
                if prop.count_type:
                    count, at = int(values[at]), at + 1
                if count < 0 or at + count > len(values):
                    raise ValueError
                numbers[i] += values[at : at + count]
                sizes[i].append(count)
                at += count
            if at != len(values):
                raise ValueError
        except (ValueError, IndexError, OverflowError):
            raise InputError(
                f"its {element.name} row {row} (counted from 0) is not what the header says, "
                f"damaged or cut short? ({line[:40]!r})"
            ) from None
    return _columns(
        element, [np.array(s, np.int64) for s in sizes], [np.array(n, float) for n in numbers]
    )
