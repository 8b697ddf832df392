"""Corners in order, winding, and pairs of polygons at edges."""

import pytest
import torch

from shapeopt import ExtractionError, InputError
from shapeopt.mesh.polygons import (
    edges_of_corners,
    is_wound_consistently,
    next_corner,
    order_corners,
    pair_faces,
    reversed_corners,
    vector_areas,
)
from tests.solids import box_solid


def test_corners_are_put_in_order():
    pentagon = torch.tensor([[0, 1], [2, 3], [1, 2], [4, 0], [3, 4]])
    square = torch.tensor([[7, 5], [6, 8], [8, 5], [7, 6]])
    corners = order_corners(torch.cat([pentagon, square]), torch.tensor([0, 5, 9])).tolist()
    assert corners[:5] == [0, 1, 2, 3, 4]
    assert corners[5:] in ([7, 5, 8, 6], [7, 6, 8, 5])


def test_edges_that_do_not_close_up_are_an_error():
    with pytest.raises(ExtractionError, match="close up"):
        order_corners(torch.tensor([[0, 1], [1, 2], [2, 3]]), torch.tensor([0, 3]))


def test_reversing_polygons_one_by_one():
    corners, offsets = torch.tensor([0, 1, 2, 3, 4, 5, 6]), torch.tensor([0, 3, 7])
    assert reversed_corners(corners, offsets).tolist() == [2, 1, 0, 6, 5, 4, 3]


def test_winding_is_inconsistent_where_an_edge_is_run_through_twice_in_one_direction():
    box = box_solid().detach()
    assert is_wound_consistently(box.face_vertices, box.face_offsets, 8)
    turned = torch.cat([box.face_vertices[:4].flip(0), box.face_vertices[4:]])
    assert not is_wound_consistently(turned, box.face_offsets, 8)


def test_the_edge_from_each_corner_to_the_next():
    box = box_solid().detach()
    edges = edges_of_corners(box.face_vertices, box.face_offsets, box.edges)
    ends = torch.stack([box.face_vertices, box.face_vertices[next_corner(box.face_offsets)]], dim=1)
    assert torch.equal(box.edges[edges].sort(dim=1).values, ends.sort(dim=1).values)


def test_faces_at_each_edge():
    pairs = pair_faces(torch.tensor([1, 0, 1, 3]), torch.tensor([5, 6, 7, 8]), 4)
    assert pairs.tolist() == [[6, -1], [5, 7], [-1, -1], [8, -1]]
    with pytest.raises(InputError, match="more than two polygons"):
        pair_faces(torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]), 1)


def test_vector_areas_and_their_gradient():
    """In double precision on a CPU they are compiled: beside single precision, and differences."""
    vertices = torch.rand(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    corners = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 2, 1, 8, 9, 10, 11, 3])
    offsets = torch.tensor([0, 3, 8, 12, 15])
    found = vector_areas(vertices, corners, offsets)
    assert torch.allclose(
        found.float(), vector_areas(vertices.float(), corners, offsets), atol=1e-6
    )
    triangle = torch.linalg.cross(vertices[1] - vertices[0], vertices[2] - vertices[0]) / 2
    assert torch.allclose(found[0], triangle, atol=1e-15)
    vertices.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: vector_areas(x, corners, offsets), vertices)
