"""Write a mesh as a binary glTF file: flat polygons and, as lines, their edges.

Not through trimesh: its lines are one Python object per edge (20 times slower), without shared
vertices (a quarter larger), and lit like faces.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.files import write_whole
from shapeopt.output.mesh_arrays import MeshArrays, mesh_arrays

FACE_COLOR = (0.80, 0.78, 0.74)
EDGE_COLOR = (0.10, 0.11, 0.14)
# Lines in the plane of the faces flicker; this fraction of the box diagonal lifts them off.
EDGE_LIFT = 5e-4

# glTF's numbers for kinds of data.
FLOAT, UNSIGNED_INT = 5126, 5125
VERTEX_DATA, INDICES = 34962, 34963
LINES, TRIANGLES = 1, 4


def write_glb(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write a binary glTF file: flat polygons and, as lines, their edges.

    Polygons share no vertices, so each is shaded flat. glTF holds coordinates in single
    precision: they are written about the middle of the mesh, and the node's translation, in
    double precision, moves them back. glTF viewers take +y as up; no axis is turned.

    Args:
        surface: the surface; `surface.scaled_and_moved` changes its units.
        path: where to write. The file appears whole or not at all.

    Returns:
        The path written.

    Raises:
        InputError: the surface has no polygons (glTF cannot hold an empty mesh), is a polyline
            in 2D, or has a vertex that is not finite.
        OSError: the file cannot be written.
    """
    mesh = mesh_arrays(surface)
    if len(mesh.sizes) == 0:
        raise InputError("The surface has no polygons: there is nothing to write as GLB.")
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    mesh = mesh._replace(vertices=mesh.vertices - middle)
    normals = mesh.normals()
    # glTF wants unit normals, so a polygon without area gets any.
    normals[~normals.any(axis=1)] = (0, 0, 1)
    triangles, _ = mesh.triangles()
    arrays = [
        mesh.vertices[mesh.corners].astype("<f4"),
        normals[mesh.owners].astype("<f4"),
        triangles.reshape(-1).astype("<u4"),
        _lifted_vertices(mesh).astype("<f4"),
        mesh.edges.reshape(-1).astype("<u4"),
    ]
    return write_whole(path, _container(_description(arrays, middle.tolist()), arrays))


def _lifted_vertices(mesh: MeshArrays) -> Float[np.ndarray, "v 3"]:
    """The vertices, moved outward by a hair."""
    outward = np.zeros_like(mesh.vertices)
    np.add.at(outward, mesh.corners, mesh.normals()[mesh.owners])
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    diagonal = np.linalg.norm(np.ptp(mesh.vertices, axis=0))
    return mesh.vertices + EDGE_LIFT * diagonal * outward / np.where(length > 0, length, 1)


def _description(arrays: list[np.ndarray], translation: list[float]) -> dict[str, Any]:
    """The JSON part for corners, their normals, triangles, edge points and edges, end to end."""
    starts = np.cumsum([0] + [array.nbytes for array in arrays]).tolist()
    unlit = "KHR_materials_unlit"
    return {
        "asset": {"version": "2.0", "generator": "shapeopt"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "surface", "translation": translation}],
        "meshes": [
            {
                "name": "surface",
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "NORMAL": 1},
                        "indices": 2,
                        "material": 0,
                        "mode": TRIANGLES,
                    },
                    {"attributes": {"POSITION": 3}, "indices": 4, "material": 1, "mode": LINES},
                ],
            }
        ],
        "materials": [
            _material("polygons", FACE_COLOR) | {"doubleSided": True},
            _material("edges", EDGE_COLOR) | {"extensions": {unlit: {}}},
        ],
        "extensionsUsed": [unlit],
        "accessors": [_accessor(array, view) for view, array in enumerate(arrays)],
        "bufferViews": [
            {
                "buffer": 0,
                "byteOffset": start,
                "byteLength": array.nbytes,
                "target": VERTEX_DATA if array.ndim == 2 else INDICES,
            }
            for start, array in zip(starts, arrays, strict=False)
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }


def _accessor(array: np.ndarray, view: int) -> dict[str, Any]:
    """What kind of numbers an array holds: positions or normals in rows, or indices."""
    shared = {"bufferView": view, "count": len(array)}
    if array.ndim == 1:
        return shared | {"componentType": UNSIGNED_INT, "type": "SCALAR"}
    bounds = {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
    return shared | {"componentType": FLOAT, "type": "VEC3"} | bounds


def _material(name: str, color: tuple[float, float, float]) -> dict[str, Any]:
    shading = {"baseColorFactor": [*color, 1], "metallicFactor": 0, "roughnessFactor": 0.8}
    return {"name": name, "pbrMetallicRoughness": shading}


def _container(description: dict[str, Any], arrays: list[np.ndarray]) -> bytes:
    """The file: a header, the JSON part and the binary part, each with its length."""
    text = json.dumps(description, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(array.tobytes() for array in arrays)  # four-byte items: needs no padding

    def words(*values: int) -> bytes:
        return np.array(values, dtype="<u4").tobytes()

    total = 12 + 8 + len(text) + 8 + len(binary)
    head = b"glTF" + words(2, total) + words(len(text)) + b"JSON" + text
    return head + words(len(binary)) + b"BIN\0" + binary
