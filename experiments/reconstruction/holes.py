"""What the holes of a scan cost every closed surface that is measured against it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from experiments.runs import measure, measure_triangles


def cost_of_holes(checkpoint: Path, scan: Path, output: Path) -> dict[str, Any]:
    """Measures of the scan with lids on its holes against the scan, and of a result against both.

    ``lids`` has the measures of the closed scan, and ``area_fraction`` of the lids in it;
    ``to_closed_scan`` those of the checkpoint against the closed scan, written to ``output``.
    """
    import trimesh

    mesh = trimesh.load(scan, process=True, force="mesh")
    vertices, faces = close_holes(np.array(mesh.vertices), np.array(mesh.faces))
    closed = trimesh.Trimesh(vertices, faces, process=False)
    path = output / f"{scan.stem}_closed.obj"
    closed.export(path)
    lids = measure_triangles(torch.from_numpy(vertices), torch.from_numpy(faces), scan)
    lids["area_fraction"] = float(1 - mesh.area / closed.area)
    return {"lids": lids, "to_closed_scan": measure(checkpoint, path)}


def close_holes(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "t 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "s 3"]]:
    """The mesh with a fan of triangles in each hole, about the middle of its rim."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, edge, count = np.unique(
        np.sort(sides, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    rim = sides[count[edge.ravel()] == 1]
    graph = coo_matrix((np.ones(len(rim)), rim.T), shape=(len(vertices), len(vertices)))
    hole = np.unique(
        connected_components(graph, directed=False)[1][rim[:, 0]], return_inverse=True
    )[1]
    sums = np.zeros((hole.max() + 1, 3))
    np.add.at(sums, hole, vertices[rim[:, 0]])
    middles = sums / np.bincount(hole)[:, None]
    # A lid's side runs against that of the triangle beyond the rim.
    lids = np.column_stack([rim[:, 1], rim[:, 0], len(vertices) + hole])
    return np.concatenate([vertices, middles]), np.concatenate([faces, lids])
