"""Write a mesh as arrays of numpy, with the sign-vectors of its cells."""

import io
import os
from pathlib import Path

import numpy as np

from shapeopt.complex.signs import unpack
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.files import write_whole
from shapeopt.output.mesh_arrays import mesh_arrays


def write_npz(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write all arrays of a mesh to a compressed .npz file.

    - `vertices` float64 [v, 3], `edges` int64 [e, 2], `edge_faces` int64 [e, 2] (-1: none);
    - `face_offsets` int64 [f + 1], `face_vertices` int64 [n]: polygon i has the corners
      `face_vertices[face_offsets[i]:face_offsets[i + 1]]`; `face_normals` float64 [f, 3].

    The surface of a network also has

    - `vertex_signs` int8 [v, constraints], of -1, 0, +1: neurons layer by layer, the output last,
      then the planes of the box;
    - `face_signs` int8 [f, neurons], of -1 and +1: the hidden neurons in the region of a polygon.

    Args:
        surface: the surface; `surface.scaled_and_moved` changes its units.
        path: where to write. The file appears whole or not at all.

    Returns:
        The path written.

    Raises:
        InputError: the surface is a polyline in 2D, or a vertex is not finite.
        OSError: the file cannot be written.
    """
    mesh = mesh_arrays(surface)
    arrays = {
        "vertices": mesh.vertices,
        "edges": mesh.edges,
        "edge_faces": surface.edge_faces.cpu().numpy(),
        "face_offsets": mesh.offsets,
        "face_vertices": mesh.corners,
        "face_normals": surface.face_normals.detach().cpu().double().numpy(),
    }
    if isinstance(surface, PolyhedralSurface):
        arrays |= _signs(surface)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return write_whole(path, packed.getvalue())


def _signs(surface: PolyhedralSurface) -> dict[str, np.ndarray]:
    signs = surface.signs
    widths = signs.constraints.widths[:-1]
    layers = [
        unpack(signs.face_plus_bits[:, signs.constraints.words(i)], width).cpu().numpy()
        for i, width in enumerate(widths)
    ]
    active = np.concatenate(layers, axis=1) if layers else np.zeros((surface.num_faces, 0), bool)
    return {
        "vertex_signs": signs.vertex_sign_vectors().cpu().numpy().astype(np.int8),
        "face_signs": active.astype(np.int8) * 2 - 1,
    }
