"""What does nothing goes, and the union stays the same."""

import torch

from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.lowpoly.prune import without_idle_planes, without_least_planes, without_strays
from shapeopt.lowpoly.result import without_cavities
from shapeopt.mesh.certificate import certify
from shapeopt.networks.convex_union import ConvexUnion
from tests.extraction.halfspaces.test_half_spaces import BAR, PLATE, crossing_parts
from tests.networks.test_convex_union import boxes


def test_a_covered_part_and_covered_planes():
    """A box inside the plate goes, and so does a plane that no part reaches. Neither the plate nor
    a bar through it can lose any: without a plane a part would come out elsewhere."""
    inside = ([-0.1, -0.1, -0.01], [0.1, 0.1, 0.02])
    assert len(without_idle_planes(boxes(PLATE, inside)).planes) == 1
    crossing = boxes(PLATE, BAR)
    assert int(without_idle_planes(crossing).is_plane.sum()) == 12
    with torch.no_grad():
        # The bar now ends inside the plate, and the plane that ended it leans on it from outside.
        crossing.planes[1, 5] = torch.ones(3).double() / 3**0.5
        crossing.offsets[1, 5] = 0.4
    fewer = without_idle_planes(crossing)
    assert int(fewer.is_plane.sum()) == 11
    assert not bool(fewer.is_plane[1, 5])


def test_the_union_stays_the_same():
    network = crossing_parts(1, parts=6, planes=12)
    with torch.no_grad():
        network.offsets[::2, 3:6] += 0.2
    smaller = without_idle_planes(network)
    assert 0 < int(smaller.is_plane.sum()) <= int(network.is_plane.sum()) - 9
    before, after = HalfSpaces()(network).detach(), HalfSpaces()(smaller).detach()
    assert before.num_faces == after.num_faces
    torch.testing.assert_close(before.volume(), after.volume(), rtol=1e-10, atol=0)
    points = torch.rand(20_000, 3, dtype=torch.float64) - 0.5
    with torch.no_grad():
        assert torch.equal(network(points) < 0, smaller(points) < 0)


def test_the_plane_that_costs_least_goes_first():
    """A box with a corner cut off by a hair: that plane, and no other."""
    network = boxes(PLATE, ([0.0, 0.0, 0.0], [0.2, 0.2, 0.4]))
    with torch.no_grad():
        # In place of a wall that is hidden anyway.
        network.planes[1, 5] = torch.ones(3).double() / 3**0.5
        network.offsets[1, 5] = (0.8 - 0.01) / 3**0.5
    surface = HalfSpaces()(network)
    counts = torch.bincount(surface.face_planes, minlength=18)
    assert int(counts[11]) == 1
    smaller = without_least_planes(network, counts.numpy(), 1)
    assert torch.equal(smaller.planes[0], network.planes[0])
    assert int(smaller.is_plane.sum()) == 11
    assert HalfSpaces()(smaller).num_faces == surface.num_faces - 1


def test_two_planes_that_close_a_side_do_not_both_go():
    """A roof so flat that either half does nearly as well alone; without both the box is open."""
    network = boxes(([-0.1] * 3, [0.1] * 3))
    widened = ConvexUnion(1, 7).double()
    with torch.no_grad():
        widened.planes[0, :6], widened.offsets[0, :6] = network.planes[0], network.offsets[0]
        for place, tilt in ((2, 0.01), (6, -0.01)):
            widened.planes[0, place] = torch.tensor([tilt, 0.0, 1.0])
            widened.offsets[0, place] = 0.1
    surface = HalfSpaces()(widened).detach()
    assert surface.num_faces == 7
    counts = torch.bincount(surface.face_planes, minlength=13)
    smaller = without_least_planes(widened, counts.numpy(), 2)
    assert int(smaller.is_plane.sum()) == 5
    assert int((smaller.planes[0, :, 2] > 0.9).sum()) == 1


def test_a_hollow_is_left_out():
    """Six plates around an empty cube."""
    plates = []
    for axis in range(3):
        for start, end in ((-0.3, -0.2), (0.2, 0.3)):
            low, high = [-0.3] * 3, [0.3] * 3
            low[axis], high[axis] = start, end
            plates.append((low, high))
    hollow = HalfSpaces()(boxes(*plates)).detach()
    assert len(certify(hollow).components) == 2
    outer = without_cavities(hollow)
    assert outer.num_faces == 6
    torch.testing.assert_close(outer.volume(), torch.tensor(0.216).double())
    assert without_cavities(outer) is outer


def test_a_stray_part_goes_and_a_part_of_the_shape_stays():
    """Two boxes apart: with points on both, both stay; with points on one, one."""
    network = boxes(PLATE, ([0.38, 0.38, 0.3], [0.4, 0.4, 0.32]))
    corners = HalfSpaces()(network).detach().vertices
    assert len(without_strays(network, corners).planes) == 2
    alone = without_strays(network, corners[corners[:, 0] < 0.35])
    assert torch.equal(alone.planes[0], network.planes[0])
    assert len(alone.planes) == 1
