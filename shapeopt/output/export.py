"""Write a polyhedral surface to a file that other programs open: PLY and GLB."""

import json
import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.mesh_arrays import MeshArrays, mesh_arrays

FACE_COLOR = (0.80, 0.78, 0.74)
EDGE_COLOR = (0.10, 0.11, 0.14)
# Lines in the plane of the faces flicker; this share of the box diagonal lifts them off.
EDGE_LIFT = 5e-4


def write_ply(surface: PolygonMesh, path: str | os.PathLike[str], binary: bool = False) -> Path:
    """Write the polygons, each as one face, to a PLY file; no digit of a coordinate is lost.

    Text is the default because trimesh cannot read a binary PLY whose polygons differ in
    their number of corners. Blender and MeshLab read both; binary is half the size.

    Args:
        surface: the surface; `surface.scaled_and_moved` changes its units.
        path: where to write. The file appears whole or not at all.
        binary: little-endian binary instead of text.

    Returns:
        The path written.
    """
    mesh = mesh_arrays(surface)
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
        body = mesh.vertices.astype("<f8").tobytes() + _ply_faces(mesh, 1 if small else 4)
    else:
        body = "".join(_ply_lines(mesh)).encode()
    return write_whole(path, header.encode() + body)


def _ply_lines(mesh: MeshArrays) -> Iterator[str]:
    for x, y, z in mesh.vertices.tolist():
        yield f"{x!r} {y!r} {z!r}\n"
    corners = list(map(str, mesh.corners.tolist()))
    for start, stop in pairwise(mesh.offsets.tolist()):
        yield f"{stop - start} {' '.join(corners[start:stop])}\n"


def _ply_faces(mesh: MeshArrays, count_bytes: int) -> bytes:
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


def write_glb(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write a binary glTF file: flat polygons and, as lines, their edges; coordinates in single.

    Polygons share no vertices, so each is shaded flat. glTF viewers take +y as up; the
    coordinates are written as they are.

    Args:
        surface: the surface; `surface.scaled_and_moved` changes its units.
        path: where to write. The file appears whole or not at all.

    Returns:
        The path written.

    Raises:
        InputError: the surface has no polygons; glTF cannot hold an empty mesh.
    """
    mesh = mesh_arrays(surface)
    if len(mesh.sizes) == 0:
        raise InputError("The surface has no polygons: there is nothing to write as GLB.")
    points = mesh.vertices[mesh.corners].astype("<f4")
    normals = mesh.normals()
    # glTF wants unit normals, so a polygon without area gets any.
    normals[~normals.any(axis=1)] = (0, 0, 1)
    triangles, _ = mesh.triangles()
    arrays = [
        points,
        normals[mesh.owners].astype("<f4"),
        triangles.reshape(-1).astype("<u4"),
        _lifted_vertices(mesh).astype("<f4"),
        mesh.edges.reshape(-1).astype("<u4"),
    ]
    return write_whole(path, _glb_bytes(arrays))


def _lifted_vertices(mesh: MeshArrays) -> Float[np.ndarray, "v 3"]:
    """The vertices, moved outward by a hair."""
    outward = np.zeros_like(mesh.vertices)
    np.add.at(outward, mesh.corners, mesh.normals()[mesh.owners])
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    diagonal = np.linalg.norm(np.ptp(mesh.vertices, axis=0))
    return mesh.vertices + EDGE_LIFT * diagonal * outward / np.where(length > 0, length, 1)


def _glb_bytes(arrays: list[np.ndarray]) -> bytes:
    """A GLB file of one mesh. Arrays: points, normals, triangles, edge points, edges."""
    accessors: list[dict[str, Any]] = []
    views: list[dict[str, Any]] = []
    offset = 0
    for array in arrays:
        accessors.append(_accessor(array, view=len(views)))
        target = 34962 if array.ndim == 2 else 34963  # vertex data, or indices
        views.append(
            {"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes, "target": target}
        )
        offset += array.nbytes
    primitives: list[dict[str, Any]] = [
        {"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2, "material": 0, "mode": 4},
    ]
    if arrays[4].size:
        primitives.append({"attributes": {"POSITION": 3}, "indices": 4, "material": 1, "mode": 1})
    tree = {
        "asset": {"version": "2.0", "generator": "shapeopt"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "surface"}],
        "meshes": [{"name": "surface", "primitives": primitives}],
        "materials": [
            _material("polygons", FACE_COLOR, {"doubleSided": True}),
            _material("edges", EDGE_COLOR, {"extensions": {"KHR_materials_unlit": {}}}),
        ],
        "extensionsUsed": ["KHR_materials_unlit"],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(array.tobytes() for array in arrays)  # four-byte items: needs no padding

    def words(*values: int) -> bytes:
        return np.array(values, dtype="<u4").tobytes()

    total = 12 + 8 + len(text) + 8 + len(binary)
    head = b"glTF" + words(2, total) + words(len(text)) + b"JSON" + text
    return head + words(len(binary)) + b"BIN\0" + binary


def _accessor(array: np.ndarray, view: int) -> dict[str, Any]:
    """glTF's description of an array: 5126 is float, 5125 unsigned int."""
    if array.ndim == 1:
        return {"bufferView": view, "componentType": 5125, "count": len(array), "type": "SCALAR"}
    bounds = {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
    return {
        "bufferView": view,
        "componentType": 5126,
        "count": len(array),
        "type": "VEC3",
        **bounds,
    }


def _material(
    name: str, color: tuple[float, float, float], extra: dict[str, Any]
) -> dict[str, Any]:
    shading = {"baseColorFactor": [*color, 1], "metallicFactor": 0, "roughnessFactor": 0.8}
    return {"name": name, "pbrMetallicRoughness": shading, **extra}


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write under a temporary name beside the target, then rename: never a half file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes the file private; others may read what open() would have made.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path
