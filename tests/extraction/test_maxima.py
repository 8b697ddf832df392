"""Maxima of planes against convex hulls, and minima of such maxima against boolean unions."""

import numpy as np
import pytest
import torch
from scipy.spatial import HalfspaceIntersection
from torch import Tensor, nn

import shapeopt
from shapeopt import PolyhedralSurface
from shapeopt.mesh.components import connected

HALF = 4.0
EXTRACTORS = {
    "subdivision": shapeopt.Subdivision,
    "plain subdivision": lambda: shapeopt.Subdivision(backend="plain"),
    "tracing": lambda: shapeopt.Tracing(complete=True),
}


class Hulls(nn.Module):
    """The minimum over hulls of the maximum of each one's planes; f < 0 inside a hull.

    Args:
        normals: unit, ``[hulls, planes, 3]``.
        offsets: of the planes along them, ``[hulls, planes]``.
    """

    def __init__(self, normals: np.ndarray, offsets: np.ndarray):
        super().__init__()
        self.shape = offsets.shape
        self.planes = nn.Linear(3, offsets.size, dtype=torch.float64)
        self.planes.weight.data = torch.tensor(normals.reshape(-1, 3))
        self.planes.bias.data = torch.tensor(-offsets.ravel())

    def forward(self, x: Tensor) -> Tensor:
        return self.planes(x).unflatten(1, self.shape).amax(2).amin(1, keepdim=True)


def hulls(seed: int, count: int, planes: int) -> tuple[Hulls, list[HalfspaceIntersection]]:
    """Bounded hulls of random planes at distances of about 0.5 from random middles."""
    rng = np.random.default_rng([planes, seed])
    normals, offsets, found = [], [], []
    while len(found) < count:
        normal = rng.normal(size=(planes, 3))
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        middle = rng.uniform(-0.6, 0.6, 3) if count > 1 else np.zeros(3)
        distance = rng.uniform(0.4, 0.5, planes)
        offset = normal @ middle + distance
        hull = HalfspaceIntersection(np.c_[normal, -offset], middle)
        # Of planes that leave a way out, some meet beyond others.
        if (hull.intersections @ normal.T < offset + 1e-9).all() and is_in_the_box(hull):
            normals.append(normal)
            offsets.append(offset)
            found.append(hull)
    return Hulls(np.array(normals), np.array(offsets)), found


def is_in_the_box(hull: HalfspaceIntersection) -> bool:
    """Whether it is, with room around it."""
    return bool((np.abs(hull.intersections) < HALF - 0.1).all())


def corners_of(hull: HalfspaceIntersection) -> np.ndarray:
    """Its vertices, each once."""
    return np.unique(hull.intersections.round(9), axis=0)


def extract(network: nn.Module, extractor: str) -> PolyhedralSurface:
    with torch.no_grad():
        return shapeopt.extract_surface(network, (-HALF, HALF), extractor=EXTRACTORS[extractor]())


@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize(
    ("planes", "seed"),
    [
        (4, 0),
        (20, 0),
        *(
            pytest.param(n, s, marks=pytest.mark.slow)
            for n, s in [(4, 1), (4, 2), (20, 1), (20, 2), (100, 0), (100, 1), (100, 2)]
        ),
    ],
)
def test_a_maximum_of_planes_is_their_hull(planes, seed, extractor):
    network, (hull,) = hulls(seed, 1, planes)
    surface = extract(network, extractor)
    corners = corners_of(hull)
    values = corners @ hull.halfspaces[:, :3].T + hull.halfspaces[:, 3]
    faces = int(((np.abs(values) < 1e-8).sum(axis=0) >= 3).sum())
    assert (surface.num_vertices, surface.num_faces) == (len(corners), faces)
    assert surface.is_closed
    found = surface.vertices.numpy()
    distances = np.linalg.norm(found[:, None] - corners[None], axis=2)
    assert distances.min(axis=0).max() < 1e-8
    assert distances.min(axis=1).max() < 1e-8


def coplanar(normals: np.ndarray, pairs: np.ndarray) -> int:
    """Number of faces, those that share an edge and lie in one plane taken together."""
    same = (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(axis=1) > 1 - 1e-9
    return len(torch.unique(connected(len(normals), torch.tensor(pairs[same]))))


@pytest.mark.parametrize("extractor", ["subdivision", "tracing"])
@pytest.mark.parametrize(
    ("count", "planes", "seed"),
    [
        (3, 8, 0),
        *(
            pytest.param(n, m, s, marks=pytest.mark.slow)
            for n, m, s in [(3, 8, 1), (10, 8, 0), (10, 8, 1), (10, 20, 0)]
        ),
    ],
)
def test_a_minimum_of_maxima_is_the_union_of_hulls(count, planes, seed, extractor):
    manifold3d = pytest.importorskip("manifold3d")
    network, found = hulls(seed, count, planes)
    solids = [manifold3d.Manifold.hull_points(corners_of(hull)) for hull in found]
    union = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)
    mesh = union.to_mesh64()
    points, triangles = mesh.vert_properties[:, :3], mesh.tri_verts.astype(np.int64)
    a, b, c = points[triangles].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    order = np.lexsort(sides.T)
    pairs = (order // 3).reshape(-1, 2)

    surface = extract(network, extractor)
    assert surface.is_closed
    assert float(surface.volume()) == pytest.approx(union.volume(), rel=1e-9)
    assert float(surface.area()) == pytest.approx(union.surface_area(), rel=1e-9)
    of_surface = coplanar(surface.face_normals.numpy(), surface.edge_faces.numpy())
    assert of_surface == coplanar(normals, pairs)
    # Beyond those that have holes, which are left as several polygons.
    assert surface.num_faces >= of_surface
