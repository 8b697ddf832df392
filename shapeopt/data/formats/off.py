"""OFF: text, with or without normals and colours (Geomview's object file format)."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shapeopt.data.formats.raw import Polygons, RawCloud, cloud_or_mesh
from shapeopt.errors import InputError

KEYWORD = re.compile(r"(ST)?(C)?(N)?OFF\b", re.I)


def read_off(path: Path) -> RawCloud:
    """A mesh, or a cloud if there are no faces; then with its normals, if it is a NOFF.

    Raises:
        InputError: other numbers of vertices or faces than the header says; binary or in 4D.
    """
    text = path.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff").lstrip()
    has_normals = False
    if keyword := KEYWORD.match(text):
        has_normals = keyword[3] is not None
        text = text[keyword.end() :]
    lines = _lines(text)
    first = next(lines, "").split()
    if len(first) not in (2, 3) or not all(word.isascii() and word.isdigit() for word in first):
        raise InputError("cannot be read: not OFF in text and 3D (its numbers do not come first)")
    num_vertices, num_faces = int(first[0]), int(first[1])
    rows = list(lines)
    if len(rows) != num_vertices + num_faces:
        raise InputError(
            f"damaged or cut short: the header promises {num_vertices} vertices and {num_faces} "
            f"faces, and {len(rows)} rows are there"
        )
    width = 6 if has_normals else 3
    try:
        numbers = [[float(word) for word in row.split()[:width]] for row in rows[:num_vertices]]
        vertices = np.array(numbers, dtype=np.float64).reshape(-1, width)
        polygons = Polygons.of([_face(row) for row in rows[num_vertices:]])
    except (ValueError, OverflowError) as error:
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    return cloud_or_mesh(vertices[:, :3], polygons, vertices[:, 3:] if has_normals else None)


def _lines(text: str) -> Iterator[str]:
    """Those that hold anything, without comments."""
    for line in text.splitlines():
        if content := line.partition("#")[0].strip():
            yield content


def _face(row: str) -> list[int]:
    """The corners, after their number; a colour may follow."""
    words = row.split()
    corners = [int(word) for word in words[1 : 1 + int(words[0])]]
    if len(corners) != int(words[0]):
        raise InputError(f"a face has fewer corners than it says: {row[:40]!r}")
    return corners
