"""More triangles where a mesh is worst: edges are cut in half."""

import numpy as np
import torch
from jaxtyping import Float

from shapeopt.data.cloud import PointCloud
from shapeopt.mesh.nearest_triangles import TriangleTree
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.triangle_points import points_on

SAMPLES = 20_000
"""Points of the cloud, at most, by which triangles are judged."""


def refined(mesh: PolygonMesh, cloud: PointCloud, count: int) -> PolygonMesh:
    """Cuts the longest edges of the triangles that have most distance from the cloud.

    Two triangles become four; none is cut twice, so there may be fewer new ones than asked for.

    Args:
        mesh: closed, of triangles.
        cloud: of the shape.
        count: triangles to have more.
    """
    triangles = mesh.triangles().tolist()
    points = mesh.vertices.detach().double().numpy()
    across = {edge: name for name, corners in enumerate(triangles) for edge in _directed(corners)}
    middles: list[np.ndarray] = []
    cut: set[int] = set()
    new: list[tuple[int, int, int]] = []
    for name in np.argsort(-_shares(mesh, cloud), kind="stable").tolist():
        if 2 * len(middles) >= count:
            break
        u, v = max(
            _directed(triangles[name]), key=lambda e: np.linalg.norm(points[e[0]] - points[e[1]])
        )
        other = across[v, u]
        if name in cut or other in cut:
            continue
        cut |= {name, other}
        middle = len(points) + len(middles)
        middles.append((points[u] + points[v]) / 2)
        w, x = (sum(triangles[one]) - u - v for one in (name, other))
        new += [(u, middle, w), (middle, v, w), (v, middle, x), (middle, u, x)]
    whole = [corners for name, corners in enumerate(triangles) if name not in cut]
    vertices = torch.from_numpy(np.concatenate([points, np.reshape(middles, (-1, 3))]))
    return PolygonMesh.from_polygons(vertices, whole + [list(corners) for corners in new])


def _directed(corners: list[int]) -> list[tuple[int, int]]:
    a, b, c = corners
    return [(a, b), (b, c), (c, a)]


def _shares(mesh: PolygonMesh, cloud: PointCloud) -> Float[np.ndarray, "t"]:
    """The distance that the points of the cloud have to each triangle, summed.

    Not that of points on the triangles: on a lid over a hole of the scan it would stay large.
    """
    every = -(-len(cloud.points) // SAMPLES)
    points = cloud.points[::every].double().contiguous()
    vertices, triangles = mesh.vertices.detach().double().contiguous(), mesh.triangles()
    tree = TriangleTree(vertices.numpy(), triangles.contiguous().numpy())
    nearest, weights = tree.nearest(points.numpy())
    at = points_on(vertices, triangles[nearest], torch.from_numpy(weights))
    return np.bincount(nearest, (points - at).norm(dim=1).numpy(), minlength=mesh.num_faces)
