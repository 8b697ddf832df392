"""The yardstick: quadric edge-collapse decimation of the true mesh (pymeshlab)."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from experiments.runs import measure_triangles

COUNTS = (100, 150, 200, 300, 500, 1000, 2000)
# The bunny is open at the base, and how much the rim counts matters below 1,000 triangles. For
# each count the better of these is taken; None: the holes are closed first.
BOUNDARY_WEIGHTS = (None, 0.01)


def decimation_curve(truth: Path) -> list[dict[str, float]]:
    """Triangles and distance of the true mesh, decimated to each of the counts."""
    rows = []
    for count in COUNTS:
        best = min(
            (_decimated_truth(truth, count, weight) for weight in BOUNDARY_WEIGHTS),
            key=lambda row: row["distance"],
        )
        print(best, flush=True)
        rows.append(best)
    return rows


def _decimated_truth(truth: Path, count: int, boundary_weight: float | None) -> dict[str, float]:
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(str(truth))
    meshes.meshing_remove_unreferenced_vertices()
    if boundary_weight is None:
        # Selected faces would be the only ones that are decimated.
        meshes.meshing_close_holes(maxholesize=1000, newfaceselected=False)
    vertices, triangles = _decimate(meshes, count, boundary_weight or 1.0)
    return {
        "triangles": len(triangles),
        "boundary_weight": boundary_weight or 0.0,
        "distance": measure_triangles(vertices, triangles, truth)["distance"],
    }


def decimate(
    vertices: Float[Tensor, "v 3"], triangles: Int[Tensor, "t 3"], count: int
) -> tuple[Float[Tensor, "w 3"], Int[Tensor, "u 3"]]:
    """Any triangle mesh, decimated to a count."""
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(vertices.double().numpy(), triangles.int().numpy()))
    return _decimate(meshes, count, 1.0)


def _decimate(
    meshes: "pymeshlab.MeshSet",
    count: int,
    boundary_weight: float,
) -> tuple[Float[Tensor, "w 3"], Int[Tensor, "u 3"]]:
    meshes.meshing_decimation_quadric_edge_collapse(
        targetfacenum=count, boundaryweight=boundary_weight
    )
    mesh = meshes.current_mesh()
    return torch.tensor(mesh.vertex_matrix()), torch.tensor(mesh.face_matrix().astype(np.int64))


def triangles_needed(curve: list[dict[str, float]], distance: float) -> float:
    """Triangles that decimation needs for a distance, interpolated between logarithms."""
    points = sorted((math.log(row["distance"]), math.log(row["triangles"])) for row in curve)
    distances, counts = zip(*points, strict=True)
    if not distances[0] <= math.log(distance) <= distances[-1]:
        raise ValueError(f"the curve does not reach a distance of {distance}")
    return math.exp(float(np.interp(math.log(distance), distances, counts)))
