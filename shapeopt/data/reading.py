"""Reads clouds and meshes from files, in the file's own units."""

import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from shapeopt.data.cloud import check_points
from shapeopt.data.triangle_sampling import sample_triangles
from shapeopt.errors import InputError


@dataclass(frozen=True)
class RawCloud:
    """What a file holds, in its own units and place.

    Attributes:
        points: [n, 3] float64. Of a mesh: samples of its triangles.
        normals: [n, 3] as in the file (of a mesh: of the triangles), or None.
        mesh: (vertices [v, 3] float64, faces [t, 3] int64) if the file holds a mesh.
        comments: the comment lines of a .ply header.
    """

    points: np.ndarray
    normals: np.ndarray | None = None
    mesh: tuple[np.ndarray, np.ndarray] | None = None
    comments: tuple[str, ...] = ()


def read_cloud(path: str | Path, mesh_samples: int = 100_000, seed: int = 0) -> RawCloud:
    """Reads .ply, .obj, .stl, .glb, .off (clouds or meshes), .xyz, .npy or .npz (clouds).

    Args:
        path: .xyz holds lines `x y z` or `x y z nx ny nz`; .npy an array [n, 3] or [n, 6];
            .npz the arrays `points` and, if there are any, `normals`.
        mesh_samples: points drawn from a mesh, uniform in area.
        seed: of these points.

    Raises:
        InputError: the file is missing, empty, cut short, of an unknown kind or not numeric, or
            its points cannot be a cloud (too few, not finite, all at one place).
    """
    raw = _read(Path(path))
    try:
        if raw.mesh is not None:
            raw = _sampled(raw, mesh_samples, seed)
        check_points(raw.points)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return raw


def read_mesh(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "t 3"]]:
    """Vertices (float64, the file's units) and triangles (int64) of .ply, .obj, .stl, .glb, .off.

    Raises:
        InputError: as :func:`read_cloud`, and if the file holds no faces, or none with an area.
    """
    raw = _read(Path(path))
    if raw.mesh is None:
        raise InputError(f"{path}: holds no faces; a mesh is wanted here, not a cloud")
    try:
        _check_mesh(*raw.mesh)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return raw.mesh


def _read(path: Path) -> RawCloud:
    """What the file holds, as it is: a mesh's points are its vertices."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: unknown kind of file; known are {', '.join(_READERS)}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file (looked in {path.resolve().parent})")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    try:
        return reader(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_mesh(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Raises InputError, saying what is wrong, unless the mesh is a surface."""
    if not np.isfinite(vertices[faces]).all():
        raise InputError("some vertices of the mesh are NaN or infinite")
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    if not np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() > 0:
        raise InputError(f"all {len(faces)} triangles of the mesh have zero area")


def _sampled(raw: RawCloud, n: int, seed: int) -> RawCloud:
    """Puts samples of the mesh in place of its vertices."""
    assert raw.mesh is not None
    vertices, faces = raw.mesh
    check_points(vertices)
    _check_mesh(vertices, faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    areas = np.linalg.norm(normals, axis=1, keepdims=True)
    points, face = sample_triangles(vertices, faces, n, seed)
    return RawCloud(points, normals[face] / areas[face], raw.mesh, raw.comments)


def _read_geometry(path: Path) -> RawCloud:
    """.ply, .obj, .stl, .glb and .off, by trimesh."""
    import trimesh

    comments, declared = _ply_header(path) if path.suffix.lower() == ".ply" else ((), {})
    try:
        # process=False: vertices as they are in the file, none merged or dropped.
        geometry: Any = trimesh.load(path, process=False)
        if isinstance(geometry, trimesh.Scene):
            geometry = geometry.to_mesh()
        vertices = np.array(geometry.vertices, dtype=np.float64).reshape(-1, 3)
        faces = np.array(getattr(geometry, "faces", ()), dtype=np.int64).reshape(-1, 3)
    except Exception as error:  # trimesh lets through whatever its parsers stumble over
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    for kind, held in (("vertex", len(vertices)), ("face", len(faces))):
        # More faces than declared are fine: polygons come as triangles.
        if held < declared.get(kind, 0):
            raise InputError(
                f"cut short: the header promises {declared[kind]} {kind} rows, {held} are there"
            )
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise InputError("a face names a vertex that is not there, damaged or cut short?")
    if len(vertices) == 0:
        raise InputError("holds no points, damaged or cut short?")
    if len(faces):
        return RawCloud(vertices, mesh=(vertices, faces), comments=comments)
    return RawCloud(vertices, _ply_normals(geometry), comments=comments)


def _ply_header(path: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """The comments and the number of rows of each element."""
    comments: list[str] = []
    declared: dict[str, int] = {}
    with path.open("rb") as file:
        for line in file:
            words = line.decode("ascii", errors="replace").split()
            if words[:1] == ["end_header"]:
                return tuple(comments), declared
            if words[:1] == ["comment"]:
                comments.append(" ".join(words[1:]))
            if words[:1] == ["element"] and len(words) == 3 and words[2].isdigit():
                declared[words[1]] = int(words[2])
    raise InputError("no PLY header with an end_header line; not a PLY file, or cut short")


def _ply_normals(cloud) -> np.ndarray | None:
    """trimesh keeps the normals of a cloud only among the raw columns of the file."""
    columns = cloud.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    if columns is None:
        return None
    names = columns.dtype.names if isinstance(columns, np.ndarray) else tuple(columns)
    if not {"nx", "ny", "nz"} <= set(names):
        return None
    return np.stack([np.asarray(columns[c], np.float64).reshape(-1) for c in ("nx", "ny", "nz")], 1)


def _read_xyz(path: Path) -> RawCloud:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": see below
            return _split_columns(np.loadtxt(path, ndmin=2, dtype=np.float64))
    except (ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"not numbers in lines `x y z` or `x y z nx ny nz`, or cut short ({error})"
        ) from error


def _read_npy(path: Path) -> RawCloud:
    try:
        return _split_columns(_numeric("array", np.load(path, allow_pickle=False)))
    except (ValueError, EOFError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error


def _read_npz(path: Path) -> RawCloud:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "points" not in arrays:
                raise InputError(f"has no array `points`, only {sorted(arrays.files)}")
            points = _numeric("points", arrays["points"])
            normals = _numeric("normals", arrays["normals"]) if "normals" in arrays else None
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    return RawCloud(points, normals)


def _numeric(name: str, array: np.ndarray) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise InputError(f"`{name}` must hold real numbers, not {array.dtype}")
    return array.astype(np.float64)


def _split_columns(rows: np.ndarray) -> RawCloud:
    if rows.ndim != 2 or rows.shape[1] not in (3, 6) or len(rows) == 0:
        raise InputError(f"must be [n, 3] points or [n, 6] with normals, not {list(rows.shape)}")
    return RawCloud(rows[:, :3], rows[:, 3:] if rows.shape[1] == 6 else None)


_READERS: dict[str, Callable[[Path], RawCloud]] = {
    ".ply": _read_geometry,
    ".obj": _read_geometry,
    ".stl": _read_geometry,
    ".glb": _read_geometry,
    ".off": _read_geometry,
    ".xyz": _read_xyz,
    ".npy": _read_npy,
    ".npz": _read_npz,
}
