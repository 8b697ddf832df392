"""Wavefront OBJ: vertices, normals and faces."""

import re
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shapeopt.data.formats.raw import Polygons, RawCloud, cloud_or_mesh
from shapeopt.errors import InputError

# What may stand first in a line and holds no shape of its own.
IGNORED = {
    *("vt", "vp", "g", "o", "s", "l", "p", "usemtl", "mtllib", "usemap", "maplib", "mg", "bevel"),
    *("c_interp", "d_interp", "lod", "shadow_obj", "trace_obj", "deg", "bmat", "step", "cstype"),
}
FREE_FORM = {"curv", "curv2", "surf", "bzp", "bsp", "cdc", "cdp", "res"}
# Exporters put their numbers into comments: `# 8 vertices`, `# Faces: 12`.
COUNTED = re.compile(r"#\s*(?:(\d+)\s+(vertices|faces)\b|(vertices|faces)\s*:\s*(\d+)\b)", re.I)


def read_obj(path: Path) -> RawCloud:
    """A mesh, or a cloud if there are no faces; then with its normals, one for each vertex.

    The format says nowhere how long a file is. That it was cut short shows in a last line that
    has no end, and in the numbers that many exporters put into a comment.

    Raises:
        InputError: names the line.
    """
    text = path.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff")
    parsed = _Parsed()
    if re.search(r"\\\r?\n", text):
        text = re.sub(r"\\\r?\n", " ", text)
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            parsed.take(line)
        except (ValueError, IndexError) as error:
            reason = f" ({error})" if isinstance(error, InputError) else ""
            raise InputError(
                f"cannot be read in line {number}, damaged or cut short? "
                f"{line.strip()[:60]!r}{reason}"
            ) from error
    return parsed.finished(text.endswith(("\n", "\r")))


class _Parsed:
    """What the lines so far have brought."""

    def __init__(self) -> None:
        self.vertices: list[tuple[float, ...]] = []
        self.normals: list[tuple[float, ...]] = []
        self.faces: list[list[int]] = []
        self.promised = {"vertices": 0, "faces": 0}

    def take(self, line: str) -> None:
        """Adds a line; ValueError or IndexError if it is not what it should be."""
        words, _, _ = line.partition("#")
        match words.split():
            case ["v", x, y, z, *_]:
                self.vertices.append((float(x), float(y), float(z)))
            case ["f", _, _, _, *_] as face:
                self.faces.append([self._vertex(corner) for corner in face[1:]])
            case ["vn", x, y, z]:
                self.normals.append((float(x), float(y), float(z)))
            case []:
                if found := COUNTED.match(line.strip()):
                    number, name = found[1] or found[4], found[2] or found[3]
                    name = name.lower()
                    self.promised[name] = max(self.promised[name], int(number))
            case [first, *_] if first in IGNORED:
                pass
            case [first, *_] if first in FREE_FORM:
                raise InputError("free-form curves and surfaces are no polygons; export a mesh")
            case _:
                raise ValueError

    def _vertex(self, corner: str) -> int:
        """Of `7`, `7/1`, `7//3`, `7/1/3` or, counted back from the last so far, `-1`."""
        number = int(corner.split("/")[0])
        if number == 0 or number < -len(self.vertices):
            raise InputError(f"there is no vertex {number}")
        return number - 1 if number > 0 else len(self.vertices) + number

    def finished(self, has_last_newline: bool) -> RawCloud:
        for name, held in (("vertices", len(self.vertices)), ("faces", len(self.faces))):
            if held < self.promised[name]:
                raise InputError(
                    f"cut short: a comment promises {self.promised[name]} {name}, {held} are there"
                )
        vertices = np.array(self.vertices, dtype=np.float64).reshape(-1, 3)
        normals = None
        if self.normals and not self.faces:
            if len(self.normals) != len(vertices):
                raise InputError(
                    f"has {len(self.normals)} normals for {len(vertices)} points, and no faces "
                    "that say which belongs to which; damaged or cut short?"
                )
            normals = np.array(self.normals, dtype=np.float64)
        raw = cloud_or_mesh(vertices, Polygons.of(self.faces), normals)
        if self.faces:
            _check_all_used(raw, has_last_newline)
        return raw


def _check_all_used(raw: RawCloud, has_last_newline: bool) -> None:
    """Where faces are lost at the end, most often some vertices are left without any."""
    assert raw.mesh is not None
    unused = len(raw.points) - len(np.unique(raw.mesh[1]))
    if unused and not has_last_newline:
        raise InputError(
            f"cut short? The last line has no end, and {unused} of {len(raw.points)} vertices are "
            "in no face; if the file is whole, end it with a newline"
        )
    if unused:
        warnings.warn(
            f"{unused} of {len(raw.points)} vertices are in no face and are left out", stacklevel=2
        )
    if not has_last_newline and not _is_closed(raw.mesh[1]):
        warnings.warn("the last line has no end and the mesh is open: cut short?", stacklevel=2)


def _is_closed(triangles: Int[np.ndarray, "t 3"]) -> bool:
    """Whether every edge has an even number of triangles."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return bool((counts % 2 == 0).all())
