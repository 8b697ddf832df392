"""Write a mesh as a PLY file, polygons as faces: trimesh would write triangles."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.fans import right_fans
from shapeopt.output.files import write_whole
from shapeopt.output.mesh_arrays import MeshArrays, mesh_arrays


def write_ply(surface: PolygonMesh, path: str | os.PathLike[str], binary: bool = False) -> Path:
    """Write the polygons as faces to a PLY file; no digit of a coordinate is lost.

    One that is not convex may become several, see `shapeopt.output.fans`.

    Text is the default because trimesh cannot read a binary PLY whose polygons differ in
    their number of corners. Blender and MeshLab read both; binary is half the size.

    Args:
        surface: the surface; `surface.scaled_and_moved` changes its units.
        path: where to write. The file appears whole or not at all.
        binary: little-endian binary instead of text.

    Returns:
        The path written.

    Raises:
        InputError: the surface is a polyline in 2D, or a vertex is not finite.
        OSError: the file cannot be written.
    """
    mesh, _ = right_fans(mesh_arrays(surface))
    # One byte holds the number of corners in nearly every file, and every reader takes it.
    small = len(mesh.sizes) == 0 or mesh.sizes.max() <= 255
    header = (
        f"ply\nformat {'binary_little_endian' if binary else 'ascii'} 1.0\n"
        "comment written by shapeopt\n"
        f"element vertex {len(mesh.vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
        f"element face {len(mesh.sizes)}\n"
        f"property list {'uchar' if small else 'uint'} int vertex_indices\nend_header\n"
    )
    if binary:
        body = mesh.vertices.astype("<f8").tobytes() + _binary_faces(mesh, 1 if small else 4)
    else:
        body = "".join([*vertex_lines(mesh), *_face_lines(mesh)]).encode()
    return write_whole(path, header.encode() + body)


def vertex_lines(mesh: MeshArrays) -> Iterator[str]:
    """Per vertex a line with its coordinates, every digit of them."""
    for x, y, z in mesh.vertices.tolist():
        yield f"{x!r} {y!r} {z!r}\n"


def _face_lines(mesh: MeshArrays) -> Iterator[str]:
    """Per polygon a line with its number of corners and the corners, the first vertex being 0."""
    corners = list(map(str, mesh.corners.tolist()))
    for start, stop in pairwise(mesh.offsets.tolist()):
        yield f"{stop - start} {' '.join(corners[start:stop])}\n"


def _binary_faces(mesh: MeshArrays, count_bytes: int) -> bytes:
    """The face list of a binary PLY: per polygon its number of corners, then the corners."""
    faces = np.arange(len(mesh.sizes))
    out = np.zeros(len(faces) * count_bytes + 4 * len(mesh.corners), dtype=np.uint8)

    def put(positions: Int[np.ndarray, " k"], values: UInt8[np.ndarray, "k b"]) -> None:
        out[positions[:, None] + np.arange(values.shape[1])] = values

    counts = mesh.sizes.astype("<u4").view(np.uint8).reshape(-1, 4)
    put(faces * count_bytes + 4 * mesh.offsets[:-1], counts[:, :count_bytes])
    corners = mesh.corners.astype("<i4").view(np.uint8).reshape(-1, 4)
    put((mesh.owners + 1) * count_bytes + 4 * np.arange(len(corners)), corners)
    return out.tobytes()
