"""Cells without extent, made by hand: which go, and what stands for them."""

from itertools import pairwise

import pytest
import torch

from shapeopt.complex.signs import Constraints
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.collapse import without_extent
from shapeopt.extraction.tolerances import SHORTEST_EDGE
from shapeopt.mesh.polygons import pair_faces
from shapeopt.mesh.ragged import offsets_of, owners_of

TINY = SHORTEST_EDGE / 100


def cells(places: list[list[float]], polygons: list[list[int]]) -> ZeroSet:
    """Polygons with these corners, of a network of five neurons and its output."""
    constraints = Constraints((5, 1), 3)
    sides = [
        (min(side), max(side))
        for polygon in polygons
        for side in zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    ]
    edges = sorted(set(sides))
    names = torch.tensor([edges.index(side) for side in sides])
    offsets = offsets_of(torch.tensor([len(polygon) for polygon in polygons]))
    num_words = constraints.num_words
    signs = SurfaceSigns(
        constraints,
        torch.zeros(len(places), 3, dtype=torch.int64),
        torch.zeros(len(places), num_words, dtype=torch.int32),
        torch.zeros(len(edges), 2, dtype=torch.int64),
        torch.zeros(len(polygons), num_words, dtype=torch.int32),
        torch.arange(len(places)),
    )
    return ZeroSet(
        torch.tensor(places, dtype=torch.float64),
        torch.tensor(edges),
        pair_faces(names, owners_of(offsets), len(edges)),
        offsets,
        torch.tensor([corner for polygon in polygons for corner in polygon]),
        signs,
        torch.full((len(polygons),), -1),
        has_caps=False,
        is_oriented=True,
    )


def contracted(found: ZeroSet, best: int = 0) -> ZeroSet:
    """Without what has no extent; of vertices that fall together the given one stays."""
    result = without_extent(found, lambda vertices: (vertices == best).double())
    assert (result.edge_faces >= 0).all()
    return result


def polygons_of(found: ZeroSet) -> list[list[int]]:
    corners, bounds = found.face_vertices.tolist(), found.face_offsets.tolist()
    return [corners[i:j] for i, j in pairwise(bounds)]


@pytest.mark.parametrize("best", [3, 4])
def test_of_vertices_that_fall_together_the_best_one_stays(best):
    places = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    places[4][2] += TINY
    found = contracted(cells(places, [[0, 2, 1], [0, 1, 3], [1, 2, 4, 3], [2, 0, 3, 4]]), best)
    assert polygons_of(found) == [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
    assert found.num_edges == 6
    assert found.signs.vertex_keys.tolist() == [0, 1, 2, best]
    assert found.vertices[3].tolist() == places[best]


def test_of_equally_good_vertices_that_of_the_least_key_stays():
    places = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    found = cells(places, [[0, 2, 1], [0, 1, 3], [1, 2, 4, 3], [2, 0, 3, 4]])
    found.signs.vertex_keys[:] = torch.tensor([5, 8, 9, 7, 6])
    assert contracted(found).signs.vertex_keys.tolist() == [5, 8, 9, 6]


@pytest.mark.parametrize("at_box", [[0, 1], [2, 3]])
def test_of_edges_that_become_one_the_one_at_the_box_stays(at_box):
    """Between the edges 01 and 23 of a tetrahedron there is a polygon of no width."""
    places = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, TINY], [1.0, 0.0, TINY]]
    places += [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    polygons = [[0, 1, 3, 2], [1, 0, 4], [2, 3, 5], [0, 2, 5, 4], [3, 1, 4, 5]]
    found = cells(places, polygons)
    plane = found.signs.constraints.num_neurons + 2
    found.signs.edge_zeros[found.edges.tolist().index(at_box), 1] = plane
    found = contracted(found)
    assert (found.num_vertices, found.num_edges, found.num_faces) == (4, 6, 4)
    here = found.edges.tolist().index([0, 1])
    assert (found.signs.edge_zeros == plane).any(dim=1).nonzero().flatten().tolist() == [here]


def test_a_polygon_that_comes_back_to_a_corner_becomes_two():
    """The front of a flat pillow, a hexagon, is drawn together at its middle; two polygons on its
    back meet there."""
    places = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [TINY, 0.0, 0.0]]
    places += [[-1.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [0.0, TINY, 0.0]]
    found = contracted(
        cells(places, [[0, 1, 2, 3, 4, 5], [3, 2, 1, 0, 6], [0, 5, 4, 3, 6]]), best=0
    )
    assert (found.num_vertices, found.num_edges) == (5, 6)
    sides = {frozenset(polygon) for polygon in polygons_of(found)}
    assert sides == {frozenset([0, 1, 2]), frozenset([0, 3, 4])}
    assert [len(polygon) for polygon in polygons_of(found)] == [3] * 4
