"""Solids of known measures."""

import torch

from shapeopt import PolyhedralSurface


def box_solid(a: float = 1.0, b: float = 1.0, c: float = 1.0) -> PolyhedralSurface:
    """A box of the given sides, one corner at the origin, six quadrilaterals."""
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    vertices = (corners * torch.tensor([a, b, c], dtype=torch.float64)).requires_grad_()
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return PolyhedralSurface.from_polygons(vertices, faces)


def two_triangles(angle: float) -> PolyhedralSurface:
    """Two triangles that share the edge from the origin to (0, 2, 0) and bend by ``angle``."""
    other = torch.tensor(angle, dtype=torch.float64)
    vertices = torch.tensor([[0, 0, 0], [0, 2, 0], [-1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    vertices[3] = torch.stack([other.cos(), torch.zeros_like(other), other.sin()])
    return PolyhedralSurface.from_polygons(vertices.requires_grad_(), [[0, 1, 2], [1, 0, 3]])
