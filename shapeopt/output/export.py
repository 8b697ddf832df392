"""Write a mesh to a file that other programs open, in the format that the file's name says."""

import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.fans import right_fans
from shapeopt.output.files import write_whole
from shapeopt.output.glb import write_glb
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.npz import write_npz
from shapeopt.output.ply import vertex_lines, write_ply
from shapeopt.output.threemf import write_3mf

__all__ = [
    "check_suffix",
    "write_3mf",
    "write_glb",
    "write_mesh",
    "write_npz",
    "write_obj",
    "write_off",
    "write_ply",
    "write_stl",
]


def write_mesh(mesh: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write a mesh in the format that the suffix names.

    | | |
    |---|---|
    | polygons | .ply, .obj; .npz, arrays of numpy with the sign-vectors, see `write_npz` |
    | polygons to look at | .glb |
    | triangles | .off, .stl, .3mf |

    PLY, OBJ, OFF, 3MF and NPZ keep every digit. Many readers of PLY and OBJ cut a polygon into a
    fan of triangles: one that is not convex, where that would be wrong, is written in pieces.

    Args:
        mesh: in 3D, on any device.
        path: where to write; its suffix, in upper or lower case, is the format. The file appears
            whole or not at all, and its folder is made if it is not there.

    Returns:
        The path written.

    Raises:
        InputError: no such format, a polyline in 2D, a vertex that is not finite, or no polygons
            where the format needs some (GLB, 3MF).
        OSError: the file cannot be written; names it.
    """
    return WRITERS[check_suffix(path)](mesh, path)


def pieces_note(mesh: PolygonMesh, path: str | os.PathLike[str]) -> str | None:
    """What `write_mesh` does to polygons that are not convex, in words; None for nothing."""
    if check_suffix(path) not in (".ply", ".obj"):
        return None
    faces = len(right_fans(mesh_arrays(mesh))[1])
    if faces == mesh.num_faces:
        return None
    return (
        f"the file has {faces:,} faces: polygons that are not convex are in pieces, so that every "
        "program reads them right"
    )


def check_suffix(path: str | os.PathLike[str], *others: str) -> str:
    """The suffix of a path that `write_mesh` can write; for asking before any long work.

    Args:
        path: to write to.
        others: suffixes that the caller writes by itself.

    Raises:
        InputError: no format has this suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (*WRITERS, *others):
        raise InputError(f"{path}: a mesh can be written as {', '.join((*WRITERS, *others))}.")
    return suffix


def write_obj(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write the polygons as faces to a Wavefront OBJ file. See `write_mesh`."""
    mesh, _ = right_fans(mesh_arrays(surface))
    corners = list(map(str, (mesh.corners + 1).tolist()))
    faces = [
        f"f {' '.join(corners[start:stop])}\n" for start, stop in pairwise(mesh.offsets.tolist())
    ]
    # By these numbers a reader can tell that the file was cut short.
    head = f"# written by shapeopt\n# {len(mesh.vertices)} vertices\n# {len(faces)} faces\n"
    lines = [head, *(f"v {line}" for line in vertex_lines(mesh)), *faces]
    return write_whole(path, "".join(lines).encode())


def write_off(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write triangles to an OFF file. See `write_mesh`.

    The format knows polygons, but of more than four corners MeshLab makes other faces without a
    word, and trimesh fails on them.
    """
    mesh = mesh_arrays(surface)
    head = f"OFF\n{len(mesh.vertices)} {len(mesh.triangle_vertices)} 0\n"
    faces = [f"3 {a} {b} {c}\n" for a, b, c in mesh.triangle_vertices.tolist()]
    return write_whole(path, "".join([head, *vertex_lines(mesh), *faces]).encode())


def write_stl(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write triangles to a binary STL file. See `write_mesh`.

    STL holds single precision and no offset: where that moves a vertex by more than 1e-5 of the
    mesh's diagonal, a warning says by how much.
    """
    import trimesh
    from trimesh.exchange.stl import export_stl

    mesh = mesh_arrays(surface)
    if len(mesh.vertices):
        rounding = float(np.abs(mesh.vertices.astype(np.float32) - mesh.vertices).max())
        if rounding > 1e-5 * np.linalg.norm(np.ptp(mesh.vertices, axis=0)):
            warnings.warn(
                f"{path}: STL holds single precision, which moves vertices by up to {rounding:.2g} "
                "so far from the origin; PLY, OBJ, OFF, 3MF and GLB keep them.",
                stacklevel=2,
            )
    triangles = trimesh.Trimesh(mesh.vertices, mesh.triangle_vertices, process=False)
    return write_whole(path, export_stl(triangles))


WRITERS: dict[str, Callable[[PolygonMesh, str | os.PathLike[str]], Path]] = {
    ".ply": write_ply,
    ".obj": write_obj,
    ".off": write_off,
    ".stl": write_stl,
    ".glb": write_glb,
    ".3mf": write_3mf,
    ".npz": write_npz,
}
