"""Convex parts: ours and CoACD's, measured in the same way."""

import time
from typing import Any

import manifold3d
import numpy as np
import torch
import trimesh

from shapeopt.data.cloud import PointCloud
from shapeopt.evaluation.measures import evaluate
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.lowpoly.search import find
from shapeopt.mesh.polygon_mesh import PolygonMesh

FACES_PER_PART = 10
"""Polygons of the union that are asked for, for each part."""


def our_parts(
    cloud: PointCloud, truth: tuple[np.ndarray, np.ndarray], number: int, seed: int
) -> dict[str, Any]:
    """``shapeopt lowpoly SCAN --faces F --parts N``."""
    start = time.process_time()
    found = find(cloud, FACES_PER_PART * number, parts=number, seed=seed)
    seconds = time.process_time() - start
    with torch.no_grad():
        solids = HalfSpaces().part_surfaces(found.network).values()
    hulls = [trimesh.Trimesh(s.vertices.numpy(), s.triangles().numpy()) for s in solids]
    faces = sum(solid.num_faces for solid in solids)
    return measured(cloud, truth, hulls) | {"faces": faces, "cpu_seconds": seconds}


def coacd_parts(
    cloud: PointCloud, truth: tuple[np.ndarray, np.ndarray], number: int, seed: int
) -> dict[str, Any]:
    """CoACD with at most so many hulls, else as it comes."""
    import coacd

    coacd.set_log_level("error")
    start = time.process_time()
    found = coacd.run_coacd(coacd.Mesh(*truth), max_convex_hull=number, seed=seed)
    seconds = time.process_time() - start
    hulls = [trimesh.Trimesh(vertices, faces) for vertices, faces in found]
    faces = sum(len(hull.facets) + len(hull.faces) - sum(map(len, hull.facets)) for hull in hulls)
    return measured(cloud, truth, hulls) | {"faces": faces, "cpu_seconds": seconds}


def measured(
    cloud: PointCloud, truth: tuple[np.ndarray, np.ndarray], hulls: list[trimesh.Trimesh]
) -> dict[str, Any]:
    """Number, all convex, volume of the difference from the truth / its volume, distance."""
    solids = [_solid(hull.vertices, hull.faces) for hull in hulls]
    union = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)
    mesh = union.to_mesh64()
    surface = PolygonMesh.from_polygons(
        torch.from_numpy(np.array(mesh.vert_properties)[:, :3]), np.array(mesh.tri_verts).tolist()
    )
    assert cloud.reference is not None
    side = float(np.ptp(cloud.points.numpy(), axis=0).max())
    row = {
        "parts": len(hulls),
        "convex": all(hull.is_convex for hull in hulls),
        "triangles": sum(len(hull.faces) for hull in hulls),
        "distance": evaluate(surface, cloud.reference, 50_000)["distance"] / side,
    }
    whole = _solid(*truth)
    if whole.status() == manifold3d.Error.NoError and whole.volume() > 0:
        both = (whole ^ union).volume()
        error = (whole.volume() + union.volume() - 2 * both) / whole.volume()
        row["volume_error"] = float(error)
    return row


def _solid(vertices: np.ndarray, faces: np.ndarray) -> manifold3d.Manifold:
    mesh = manifold3d.Mesh64(
        np.ascontiguousarray(vertices, dtype=np.float64),
        np.ascontiguousarray(faces, dtype=np.uint64),
    )
    mesh.merge()
    return manifold3d.Manifold(mesh)
