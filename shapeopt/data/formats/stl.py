"""STL: binary or text; each triangle has corners of its own."""

from pathlib import Path

import numpy as np

from shapeopt.data.formats.raw import Polygons, RawCloud, cloud_or_mesh
from shapeopt.errors import InputError

HEADER = 84  # bytes: 80 of anything, and the number of triangles
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
# The words of a triangle in text, and how many numbers follow each.
FACET = (
    ("facet normal", 3),
    ("outer loop", 0),
    *3 * (("vertex", 3),),
    ("endloop", 0),
    ("endfacet", 0),
)


def read_stl(path: Path) -> RawCloud:
    """A mesh. The normals in the file are left: the corners say which way round it is.

    Raises:
        InputError: another number of triangles than the header says; a solid that does not end.
    """
    data = path.read_bytes()
    promised = int.from_bytes(data[HEADER - 4 : HEADER], "little")
    # Many a binary file begins with `solid`, too: what counts is the length.
    if len(data) >= HEADER and len(data) == HEADER + promised * TRIANGLE.itemsize:
        corners = np.frombuffer(data, TRIANGLE, promised, HEADER)["corners"]
    elif data.lstrip()[:5].lower() == b"solid" and b"facet" in data.lower():
        corners = _text(data.decode("utf-8", errors="replace"))
    elif len(data) < HEADER:
        raise InputError("cannot be read: neither binary STL nor a solid in text; cut short?")
    else:
        held = max(len(data) - HEADER, 0) / TRIANGLE.itemsize
        raise InputError(
            f"damaged or cut short: the header promises {promised} triangles, {held:.6g} are there"
        )
    if len(corners) == 0:
        raise InputError("holds no triangles")
    vertices = corners.reshape(-1, 3).astype(np.float64)
    return cloud_or_mesh(vertices, Polygons.of_triangles(np.arange(len(vertices)).reshape(-1, 3)))


def _text(text: str) -> np.ndarray:
    """[t, 3, 3]."""
    corners: list[list[float]] = []
    expected, inside = 0, False
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.lower().split()
        if not words:
            continue
        if expected == 0 and words[0] == ("endsolid" if inside else "solid"):
            inside = not inside
            continue
        name, numbers = FACET[expected]
        values = words[len(name.split()) :]
        if not inside or words[: len(name.split())] != name.split() or len(values) != numbers:
            raise InputError(f"line {number} is not `{name}`, damaged or cut short? {line[:40]!r}")
        if name == "vertex":
            corners.append(_numbers(values, number))
        expected = (expected + 1) % len(FACET)
    if inside or expected:
        raise InputError("cut short: the last solid has no end")
    return np.array(corners, dtype=np.float64).reshape(-1, 3, 3)


def _numbers(words: list[str], line: int) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"line {line}: {error}; damaged?") from None
