"""The surface of unions of convex parts: by hand, against f itself, and its gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from shapeopt import EmptySurfaceError, ExtractionError, InputError, sdf_network
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.losses import (
    Area,
    Balance,
    Centroid,
    EdgeLength,
    FaceCount,
    FaceTarget,
    Inertia,
    NormalVariation,
    PolygonRoundness,
    ShortEdges,
    SmallFaces,
    Smoothness,
    SolidRoundness,
    Topology,
    Volume,
)
from shapeopt.losses.base import GeometryLoss
from shapeopt.losses.surface_distance import distance_to_surface
from shapeopt.mesh.certificate import certify
from shapeopt.networks import ConvexUnion
from tests.networks.test_convex_union import boxes

PLATE = ([-0.3, -0.3, -0.05], [0.3, 0.3, 0.05])
BAR = ([-0.1, -0.12, -0.3], [0.11, 0.13, 0.31])


def test_a_box_alone():
    surface = HalfSpaces()(boxes(PLATE))
    assert (surface.num_vertices, surface.num_edges, surface.num_faces) == (8, 12, 6)
    assert float(surface.volume().detach()) == pytest.approx(0.6 * 0.6 * 0.1)
    assert sorted(surface.face_planes.tolist()) == [0, 1, 2, 3, 4, 5]


def test_faces_with_holes_are_cut():
    """A bar through a plate: the plate's two large faces have a hole each."""
    surface = HalfSpaces()(boxes(PLATE, BAR))
    assert surface.num_split == 2
    assert surface.num_faces == 4 + 2 * 2 + 2 + 2 * 4
    report = certify(surface)
    assert report.is_clean
    assert [part.genus for part in report.components] == [0]
    bar = 0.21 * 0.25
    assert float(surface.volume().detach()) == pytest.approx(0.036 + bar * (0.61 - 0.1))
    expected = 2 * (0.36 - bar) + 4 * 0.6 * 0.1 + 2 * bar + 2 * (0.21 + 0.25) * (0.61 - 0.1)
    assert float(surface.area().detach()) == pytest.approx(expected)
    assert len(surface.triangles()) == 2 * surface.num_vertices - 4


def test_what_lies_in_one_plane_is_one_face():
    """Two boxes side by side with the same floor and ceiling, of different depth."""
    one = ([-0.3, -0.2, -0.1], [0.1, 0.2, 0.1])
    two = ([-0.1, -0.1, -0.1], [0.3, 0.1, 0.1])
    surface = HalfSpaces()(boxes(one, two))
    assert surface.num_faces == 2 + 8
    assert certify(surface).is_clean
    assert float(surface.volume().detach()) == pytest.approx(0.2 * (0.16 + 0.04))


def test_a_hidden_part_leaves_nothing():
    surface = HalfSpaces()(boxes(PLATE, ([-0.1, -0.1, -0.01], [0.1, 0.1, 0.02])))
    assert surface.num_faces == 6


def test_what_would_leave_the_box_is_cut_off():
    surface = HalfSpaces()(boxes(([-0.3, -0.3, -0.9], [0.3, 0.3, 0.05])))
    assert float(surface.volume().detach()) == pytest.approx(0.36 * 0.55)
    assert int(surface.face_planes.max()) == 6 + 5
    volume, _ = surface.volume(), surface.detach()
    with pytest.raises(EmptySurfaceError):
        HalfSpaces()(boxes(([0.6, 0.6, 0.6], [0.7, 0.7, 0.7])))
    assert volume.requires_grad


@pytest.mark.parametrize("seed", range(4))
def test_the_surface_is_where_f_changes_sign(seed):
    """On it f is 0, and f < 0 just where its winding number says inside."""
    import igl

    network = crossing_parts(seed, parts=6, planes=9)
    surface = HalfSpaces()(network).detach()
    report = certify(surface)
    assert report.is_clean
    triangles = surface.triangles()
    assert len(triangles) == int((surface.face_offsets.diff() - 2).sum())
    corners = surface.vertices[triangles]
    with torch.no_grad():
        for point in (surface.vertices, corners.mean(dim=1), corners[:, :2].mean(dim=1)):
            assert float(network(point).abs().max()) < 1e-12
    points = torch.rand(20_000, 3, dtype=torch.float64) - 0.5
    winding = igl.winding_number(
        surface.vertices.numpy(), triangles.numpy(), np.ascontiguousarray(points)
    )
    with torch.no_grad():
        values = network(points).squeeze(1).numpy()
    clear = np.abs(values) > 1e-9
    np.testing.assert_array_equal(values[clear] < 0, winding[clear] > 0.5)
    # Normals point out of their own planes and out of the union.
    middles = corners.mean(dim=1) + 1e-6 * surface.face_normals[surface.triangle_faces()]
    with torch.no_grad():
        assert float((network(middles) > 0).double().mean()) > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_edge_by_edge_and_the_boolean_library_give_the_same_mesh(seed):
    network = crossing_parts(seed, parts=8, planes=11)
    one, two = (HalfSpaces(method=method)(network).detach() for method in ("edges", "boolean"))
    for name in ("num_vertices", "num_edges", "num_faces", "num_split"):
        assert getattr(one, name) == getattr(two, name)
    assert torch.equal(one.face_planes.sort().values, two.face_planes.sort().values)
    assert torch.cdist(one.vertices, two.vertices).min(dim=1).values.max() < 1e-7  # cdist rounds
    torch.testing.assert_close(one.volume(), two.volume(), rtol=1e-12, atol=0)
    torch.testing.assert_close(one.area(), two.area(), rtol=1e-12, atol=0)
    assert certify(one).is_clean


def test_what_is_not_decided_edge_by_edge():
    """Two parts with a common plane, and one cut off by the box."""
    one = ([-0.3, -0.2, -0.1], [0.1, 0.2, 0.1])
    two = ([-0.1, -0.1, -0.1], [0.3, 0.1, 0.1])
    for network in (boxes(one, two), boxes(([-0.3, -0.3, -0.9], [0.3, 0.3, 0.05]))):
        with pytest.raises(ExtractionError, match="too close"):
            HalfSpaces(method="edges")(network)
        assert HalfSpaces()(network).is_closed


def crossing_parts(seed: int, parts: int, planes: int) -> ConvexUnion:
    """Parts that overlap, in general position."""
    generator = torch.Generator().manual_seed(seed)
    network = ConvexUnion(parts, planes, seed=seed).double()
    with torch.no_grad():
        moved = 0.02 * torch.rand(parts, planes, generator=generator, dtype=torch.float64)
        network.offsets += 0.03 + moved
    return network


GEOMETRY = [
    Area(1.0, target=1.5),
    Balance(1.0, margin=0.5),
    Centroid(1.0, target=(0.1, 0.2, 0.3)),
    EdgeLength(1.0),
    FaceCount(1.0),
    FaceTarget(1.0, faces=30),
    Inertia(1.0),
    NormalVariation(1.0),
    PolygonRoundness(1.0),
    ShortEdges(1.0, threshold=0.1),
    SmallFaces(1.0, area=0.01),
    Smoothness(1.0),
    SolidRoundness(1.0),
    Topology(1.0),
    Volume(1.0, target=0.5),
]


def test_all_geometry_losses_are_here():
    ours = {x for x in GeometryLoss.__subclasses__() if x.__module__.startswith("shapeopt.")}
    assert {type(loss) for loss in GEOMETRY} == ours


def test_gradients_are_those_of_central_differences():
    """Every geometry loss, and the exact distance of points, along random changes of all planes."""
    network = crossing_parts(3, parts=3, planes=7)
    extract = HalfSpaces()
    targets = torch.rand(50, 3, dtype=torch.float64) - 0.5
    measures = [*GEOMETRY, lambda s: distance_to_surface(targets, s.vertices, s.triangles()).mean()]
    surface = extract(network)
    parameters = list(network.parameters())
    gradients = []
    for measure in measures:
        parts = torch.autograd.grad(measure(surface), parameters, retain_graph=True)
        gradients.append(nn.utils.parameters_to_vector(parts))
    planes = surface.face_planes.sort().values
    step = 1e-6
    start = nn.utils.parameters_to_vector(parameters).detach().clone()
    directions = torch.randn(12, len(start), dtype=torch.float64)
    differences = torch.zeros(len(measures), len(directions), dtype=torch.float64)
    with torch.no_grad():
        for column, direction in enumerate(directions):
            for sign in (1, -1):
                nn.utils.vector_to_parameters(start + sign * step * direction, parameters)
                moved = extract(network)
                assert moved.num_vertices == surface.num_vertices
                assert torch.equal(moved.face_planes.sort().values, planes)
                change = torch.stack([m(moved) for m in measures]) * sign / (2 * step)
                differences[:, column] += change
    for measure, gradient, difference in zip(measures, gradients, differences, strict=True):
        size = max(float(difference.abs().max()), 1e-12)  # of Topology 0: there is nothing too much
        error = float((directions @ gradient - difference).abs().max()) / size
        assert error < 1e-5, f"{measure}: {error:.1e}"


def test_damping_bounds_the_gradient_and_leaves_the_place():
    """A wedge of two nearly parallel planes: its edge moves 1 / angle times as far as they do."""
    network = boxes(PLATE)
    with torch.no_grad():
        network.planes[0, 2] = torch.tensor([2.0**-10, 0, 1])
        network.planes[0, 5] = torch.tensor([2.0**-10, 0, -1])
        network.offsets[0, 2] = network.offsets[0, 5] = 2.0**-10 * 0.1
    sizes = []
    for damping in (0.0, 0.05):
        surface = HalfSpaces(damping=damping)(network)
        tip = surface.vertices[surface.vertices[:, 0].argmax()]
        sizes.append(float(torch.autograd.grad(tip[0], network.offsets)[0].abs().max()))
        assert float(tip[0].detach()) == pytest.approx(0.1, abs=1e-9)
    assert sizes[0] > 400
    assert sizes[1] <= 10


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (sdf_network(4, 1), "not of a Sequential"),
        (boxes(([float("nan")] * 3, [0.3, 0.3, 0.3])), "NaN"),
    ],
)
def test_what_it_refuses(network, message):
    with pytest.raises(InputError, match=message):
        HalfSpaces()(network)
