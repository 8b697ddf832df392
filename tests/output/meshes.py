"""Meshes to write and to draw."""

import itertools

import numpy as np
import torch

from shapeopt.mesh.polygon_mesh import PolygonMesh

FAR = torch.tensor([500_000.0, 5_000_000.0, 100.0], dtype=torch.float64)  # map coordinates, metres


def cube(*missing):
    """Side 2 about the origin, its vertices needing gradients, as in training.

    Six squares, -x, +x, -y, +y, -z, +z, without those whose numbers are given.
    """
    vertices = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), requires_grad=True)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    kept = [quad for i, quad in enumerate(quads) if i not in missing]
    return PolygonMesh.from_polygons(vertices, kept)


def prism(sides):
    """Unit height, on a regular polygon of radius 1; two faces with `sides` corners."""
    angle = torch.arange(sides, dtype=torch.float64) * (2 * torch.pi / sides)
    ring = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1)
    vertices = torch.cat([ring, ring + torch.tensor([0.0, 0.0, 1.0])])
    walls = [(i, j, j + sides, i + sides) for i, j in around(sides)]
    ends = [tuple(reversed(range(sides))), tuple(range(sides, 2 * sides))]
    return PolygonMesh.from_polygons(vertices, [*walls, *ends])


def around(sides):
    return [(i, (i + 1) % sides) for i in range(sides)]


def prism_volume(sides):
    return sides / 2 * np.sin(2 * np.pi / sides)


def empty():
    return PolygonMesh(
        vertices=torch.zeros(0, 3),
        edges=torch.zeros(0, 2, dtype=torch.long),
        edge_faces=torch.zeros(0, 2, dtype=torch.long),
        face_offsets=torch.zeros(1, dtype=torch.long),
        face_vertices=torch.zeros(0, dtype=torch.long),
        face_normals=torch.zeros(0, 3),
    )
