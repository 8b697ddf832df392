"""Which reader a file gets."""

from pathlib import Path

from shapeopt.data.formats.arrays import read_arrays
from shapeopt.data.formats.gltf import read_gltf
from shapeopt.data.formats.libraries import read_3mf, read_las
from shapeopt.data.formats.obj import read_obj
from shapeopt.data.formats.off import read_off
from shapeopt.data.formats.pcd import read_pcd
from shapeopt.data.formats.ply import read_ply
from shapeopt.data.formats.raw import RawCloud
from shapeopt.data.formats.stl import read_stl
from shapeopt.data.formats.text import read_text
from shapeopt.errors import InputError

GEOMETRY = {
    ".ply": read_ply,
    ".obj": read_obj,
    ".stl": read_stl,
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".off": read_off,
    ".3mf": read_3mf,
    ".pcd": read_pcd,
    ".las": read_las,
    ".laz": read_las,
}
ROWS = {
    ".xyz": read_text,
    ".txt": read_text,
    ".csv": read_text,
    ".pts": read_text,
    ".asc": read_text,
    ".npy": read_arrays,
    ".npz": read_arrays,
}
"""Whose columns may need an explanation."""

KNOWN = (*GEOMETRY, *ROWS)


def read_file(path: Path, columns: str | None = None) -> RawCloud:
    """What the file holds, as it is: a mesh's points are its vertices.

    Args:
        path: its suffix, in upper or lower case, is the kind of file.
        columns: of a cloud in rows, see `columns.py`.

    Raises:
        InputError: names the file, what is wrong with it, and what to do.
    """
    suffix = path.suffix.lower()
    if suffix not in KNOWN:
        raise InputError(f"{path}: unknown kind of file; known are {', '.join(KNOWN)}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file (looked in {path.resolve().parent})")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")
    try:
        if suffix in ROWS:
            return ROWS[suffix](path, columns)
        if columns is not None:
            raise InputError(f"data.columns={columns} is for rows of numbers ({', '.join(ROWS)})")
        return GEOMETRY[suffix](path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit the memory; too large, or damaged?") from None
