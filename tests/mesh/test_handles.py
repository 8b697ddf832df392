"""Loops round handles, on tori and lattices whose shortest are known."""

import itertools
import math

import numpy as np
import pytest
import torch
import trimesh

from shapeopt import PolygonMesh
from shapeopt.losses import Topology
from shapeopt.mesh.components import cells_of, connected
from shapeopt.mesh.handles import handle_loop
from tests.solids import polygons_of


def mesh(made: trimesh.Trimesh) -> PolygonMesh:
    return PolygonMesh.from_polygons(torch.tensor(made.vertices), made.faces.tolist())


def length(surface: PolygonMesh, loop: torch.Tensor) -> float:
    return float((surface.vertices[loop] - surface.vertices[loop.roll(1)]).norm(dim=1).sum())


def assert_loop_of_edges(surface: PolygonMesh, loop: torch.Tensor) -> None:
    assert len(set(loop.tolist())) == len(loop) > 2
    pairs = torch.stack([loop, loop.roll(1)], dim=1).sort(dim=1).values.tolist()
    edges = {tuple(edge) for edge in surface.edges.sort(dim=1).values.tolist()}
    assert {tuple(pair) for pair in pairs} <= edges


def separates(surface: PolygonMesh, loop: torch.Tensor) -> bool:
    """Whether the surface falls apart when cut along the loop."""
    cut = {frozenset(pair) for pair in torch.stack([loop, loop.roll(1)], dim=1).tolist()}
    joined = [
        faces
        for ends, faces in zip(surface.edges.tolist(), surface.edge_faces.tolist(), strict=True)
        if frozenset(ends) not in cut
    ]
    pairs = torch.tensor(joined)
    return len(connected(surface.num_faces, pairs).unique()) > 1


@pytest.mark.parametrize("polygon", [0, 100, 333])
def test_the_shortest_loop_round_a_tube(polygon):
    made = mesh(trimesh.creation.torus(0.3, 0.1, major_sections=40, minor_sections=16))
    loop = handle_loop(made, polygon)
    assert length(made, loop) == pytest.approx(16 * 2 * 0.1 * math.sin(math.pi / 16))
    assert_loop_of_edges(made, loop)


@pytest.mark.parametrize("polygon", [0, 100, 333])
def test_a_short_loop_through_a_narrow_hole(polygon):
    made = mesh(trimesh.creation.torus(0.3, 0.25, major_sections=40, minor_sections=16))
    loop = handle_loop(made, polygon)
    assert_loop_of_edges(made, loop)
    shortest = 40 * 2 * 0.05 * math.sin(math.pi / 40)
    assert shortest < length(made, loop) < 1.5 * shortest
    assert not separates(made, loop)


def surface_of_cells(full: np.ndarray) -> PolygonMesh:
    """Unit squares between cells that are full and cells that are not."""
    full = np.pad(full, 1)
    corners: dict[tuple[int, ...], int] = {}
    polygons = []
    for cell in np.argwhere(full):
        for axis, side in itertools.product(range(3), (0, 1)):
            beside = cell.copy()
            beside[axis] += 2 * side - 1
            if full[tuple(beside)]:
                continue
            around = [(0, 0), (1, 0), (1, 1), (0, 1)][:: 2 * side - 1]
            places = [tuple(cell + np.roll([side, *steps], axis)) for steps in around]
            polygons.append([corners.setdefault(place, len(corners)) for place in places])
    return PolygonMesh.from_polygons(torch.tensor(list(corners)).double(), polygons)


def lattice(columns: int, rows: int, layers: int) -> np.ndarray:
    """Bars along all axes, and room between them."""
    full = np.zeros((2 * columns + 1, 2 * rows + 1, 2 * layers + 1), bool)
    full[:, ::2, ::2] = full[::2, :, ::2] = full[::2, ::2, :] = True
    return full


@pytest.mark.parametrize(
    ("cells", "genus"),
    [((1, 1, 0), 1), ((2, 1, 0), 2), ((1, 1, 1), 5), ((8, 5, 0), 40), ((3, 3, 3), 81)],
)
def test_many_handles(cells, genus):
    """From any polygon: a loop that does not separate, as short as a bar is thick."""
    surface = surface_of_cells(lattice(*cells))
    assert surface.euler_characteristic == 2 - 2 * genus
    for polygon in range(0, surface.num_faces, 97):
        loop = handle_loop(surface, polygon)
        assert_loop_of_edges(surface, loop)
        assert not separates(surface, loop)
        assert length(surface, loop) == 4


def test_the_component_of_the_polygon():
    thin = trimesh.creation.torus(0.3, 0.02, major_sections=20, minor_sections=8)
    thick = trimesh.creation.torus(0.3, 0.1, major_sections=20, minor_sections=8)
    both = mesh(trimesh.util.concatenate([thin, thick.apply_translation([2, 0, 0])]))
    for polygon, tube in ((0, 0.02), (both.num_faces - 1, 0.1)):
        found = length(both, handle_loop(both, polygon))
        assert found == pytest.approx(8 * 2 * tube * math.sin(math.pi / 8))


def test_components_that_touch():
    """A ring of cells, and two cells that touch a corner of it in one vertex each."""
    full = np.zeros((5, 5, 3), bool)
    full[1:4, 1:4, 1] = True
    full[2, 2, 1] = False
    alone = surface_of_cells(full)
    full[0, 0, 0] = full[4, 4, 2] = True
    touching = surface_of_cells(full)
    assert touching.num_vertices == alone.num_vertices + 14
    label = connected(touching.num_faces, touching.edge_faces).unique(return_inverse=True)[1]
    assert sorted(cells_of(touching, label).genus.tolist()) == [0, 0, 1]
    on_ring = int(torch.nonzero(label == label.bincount().argmax())[0])
    loop = handle_loop(touching, on_ring)
    assert length(touching, loop) == 4
    ball = PolygonMesh.from_polygons(touching.vertices.requires_grad_(), polygons_of(touching))
    loss = Topology(1.0)(ball)
    assert float(loss.detach()) == pytest.approx(4 + 2 * math.sqrt(6))
