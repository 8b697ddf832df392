"""Solids of known measures."""

from collections.abc import Callable

import torch
from torch import Tensor

from shapeopt import PolygonMesh

BOX_FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TETRAHEDRON_FACES = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]


def box_solid(a: float = 1.0, b: float = 1.0, c: float = 1.0) -> PolygonMesh:
    """A box of the given sides, one corner at the origin, six quadrilaterals."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    vertices = (corners * torch.tensor([a, b, c], dtype=torch.float64)).requires_grad_()
    return PolygonMesh.from_polygons(vertices, BOX_FACES)


def tetrahedron_solid(vertices: Tensor | None = None) -> PolygonMesh:
    """A tetrahedron; by default the corner of the unit cube at the origin."""
    if vertices is None:
        corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
        vertices = torch.tensor(corners, dtype=torch.float64)
    return PolygonMesh.from_polygons(vertices.detach().clone().requires_grad_(), TETRAHEDRON_FACES)


def ball_solid(radius: float = 1.0, subdivisions: int = 4) -> PolygonMesh:
    """Nearly a ball: an icosphere, its vertices on the sphere."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions, radius=radius)
    vertices = torch.tensor(mesh.vertices, dtype=torch.float64, requires_grad=True)
    return PolygonMesh.from_polygons(vertices, mesh.faces.tolist())


def prism_solid(profile: list[tuple[float, float]], depth: float = 1.0) -> PolygonMesh:
    """A convex profile in the x-z plane, counter-clockwise, between y = 0 and y = depth."""
    n = len(profile)
    vertices = [[x, y, z] for y in (0.0, depth) for x, z in profile]
    sides = [[i, i + n, (i + 1) % n + n, (i + 1) % n] for i in range(n)]
    # Counter-clockwise in x and z is seen so from negative y.
    faces = [list(range(n)), list(range(2 * n - 1, n - 1, -1)), *sides]
    tensor = torch.tensor(vertices, dtype=torch.float64, requires_grad=True)
    return PolygonMesh.from_polygons(tensor, faces)


def two_triangles(angle: float) -> PolygonMesh:
    """Two triangles that share the edge from the origin to (0, 2, 0) and bend by ``angle``."""
    other = torch.tensor(angle, dtype=torch.float64)
    vertices = torch.tensor([[0, 0, 0], [0, 2, 0], [-1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    vertices[3] = torch.stack([other.cos(), torch.zeros_like(other), other.sin()])
    return PolygonMesh.from_polygons(vertices.requires_grad_(), [[0, 1, 2], [1, 0, 3]])


def polygons_of(surface: PolygonMesh) -> list[list[int]]:
    """The corners of each polygon."""
    return [p.tolist() for p in surface.face_vertices.split(surface.face_offsets.diff().tolist())]


def assert_gradient(
    measure: Callable[[PolygonMesh], Tensor],
    surface: PolygonMesh,
    step: float = 1e-6,
    tolerance: float = 1e-7,
    held: Tensor | None = None,
) -> None:
    """The gradient in all vertices against central differences, normals following the vertices.

    Where the mask ``held`` ``[v, 3]`` is set, the gradient is 0 on purpose.
    """
    polygons, start = polygons_of(surface), surface.vertices.detach()

    def value(vertices: Tensor) -> Tensor:
        return measure(PolygonMesh.from_polygons(vertices, polygons))

    vertices = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(vertices), vertices)
    differences = torch.zeros_like(start)
    for i in range(start.numel()):
        moved = torch.zeros(start.numel(), dtype=start.dtype)
        moved[i] = step
        moved = moved.view_as(start)
        differences.view(-1)[i] = (value(start + moved) - value(start - moved)) / (2 * step)
    if held is not None:
        differences[held] = 0
    scale = float(differences.abs().max())
    assert scale > 0
    torch.testing.assert_close(gradient, differences, rtol=0, atol=tolerance * max(scale, 1.0))
