"""Corners in order, orientation, and pairs of polygons at edges."""

import pytest
import torch

from shapeopt import ExtractionError, InputError
from shapeopt.mesh.polygons import order_corners, orient, pair_faces
from tests.solids import BOX_FACES, box_solid, polygons_of


def test_corners_are_put_in_order():
    pentagon = torch.tensor([[0, 1], [2, 3], [1, 2], [4, 0], [3, 4]])
    square = torch.tensor([[7, 5], [6, 8], [8, 5], [7, 6]])
    corners = order_corners(torch.cat([pentagon, square]), torch.tensor([0, 5, 9])).tolist()
    assert corners[:5] == [0, 1, 2, 3, 4]
    assert corners[5:] in ([7, 5, 8, 6], [7, 6, 8, 5])


def test_edges_that_do_not_close_up_are_an_error():
    with pytest.raises(ExtractionError, match="close up"):
        order_corners(torch.tensor([[0, 1], [1, 2], [2, 3]]), torch.tensor([0, 3]))


def test_polygons_are_turned_to_their_normals():
    """A box with every other side the wrong way round."""
    box = box_solid().detach()
    wrong = [face[::-1] if number % 2 else face for number, face in enumerate(BOX_FACES)]
    corners = orient(
        box.vertices,
        torch.tensor(wrong).flatten(),
        box.face_offsets,
        box.face_normals,
        box.edge_faces,
        box.edges,
    )

    def cycles(polygons):
        return [p[p.index(min(p)) :] + p[: p.index(min(p))] for p in polygons]

    assert cycles(corners.view(-1, 4).tolist()) == cycles(polygons_of(box))


def test_faces_at_each_edge():
    pairs = pair_faces(torch.tensor([1, 0, 1, 3]), torch.tensor([5, 6, 7, 8]), 4)
    assert pairs.tolist() == [[6, -1], [5, 7], [-1, -1], [8, -1]]
    with pytest.raises(InputError, match="more than two polygons"):
        pair_faces(torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]), 1)
