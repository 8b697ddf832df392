"""Geometry losses on solids whose values are known by hand."""

import math

import pytest
import torch

from shapeopt import InputError, extract_surface
from shapeopt.losses import (
    EdgeLength,
    FaceCount,
    FaceTarget,
    NormalVariation,
    PolygonRoundness,
    ShortEdges,
    SmallFaces,
    Smoothness,
)
from shapeopt.mesh.polygon_mesh import PolygonMesh
from tests.sample_networks import random_mlp
from tests.solids import assert_gradient, ball_solid, box_solid, tetrahedron_solid, two_triangles


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (EdgeLength(1.0), 24.0),
        (EdgeLength(1.0, reduction="mean"), 2.0),
        (EdgeLength(1.0, power=2.0), 4 * (1 + 4 + 9)),
        (Smoothness(1.0, power=1.0), math.pi / 2),
        (Smoothness(1.0), (math.pi / 2) ** 2),
        (FaceCount(1.0), 24.0**2 / (math.pi * 22)),
        (FaceTarget(1.0, faces=24.0**2 / (math.pi * 22)), 1 / 7),
        (FaceTarget(1.0, faces=24.0**2 / (math.pi * 11)), 0.5**7 / 7),
        (FaceTarget(1.0, faces=24.0**2 / (math.pi * 44)), 1.15**7 / 7 + 1.15**6 * 0.85),
        (FaceTarget(1.0, faces=0.5, start=24.0**2 / (math.pi * 11)), 1 / 7),
        (EdgeLength(1.0, target=2.0), 4 * (1 + 0 + 1)),
        (EdgeLength(1.0, power=2.0, reduction="mean", target=1.0), (0 + 1 + 4) / 3),
        (ShortEdges(1.0, threshold=2.0), 0.5**2 / 3),
        (ShortEdges(1.0, threshold=4.0), ((3 / 4) ** 2 + (2 / 4) ** 2 + (1 / 4) ** 2) / 3),
        (ShortEdges(1.0, threshold=0.5), 0.0),
        (SmallFaces(1.0, area=2.0), 2 * (2 / 4 + 3 / 5 + 6 / 8)),
        (NormalVariation(1.0), 24 * math.sqrt(2) / 22),
        (PolygonRoundness(1.0), 1 - 4 * math.pi * (2 / 6**2 + 3 / 8**2 + 6 / 10**2) / 3),
        (
            PolygonRoundness(1.0, reduction="area"),
            1 - 4 * math.pi * (2**2 / 6**2 + 3**2 / 8**2 + 6**2 / 10**2) / 11,
        ),
    ],
)
def test_values_on_a_box(loss, expected):
    assert float(loss(box_solid(1, 2, 3))) == pytest.approx(expected)


def test_smoothness_is_weighted_by_length():
    """One edge of length 2 bent by 0.5: border edges do not count."""
    assert float(Smoothness(1.0)(two_triangles(0.5))) == pytest.approx(0.25)


def test_face_count_leaves_out_the_border():
    surface = two_triangles(0.5)
    assert float(FaceCount(1.0)(surface)) == pytest.approx(2.0**2 / (math.pi * 2))


def test_a_share_of_the_polygons_needs_the_start():
    share = FaceTarget(1.0, faces=0.5)
    with pytest.raises(InputError, match="start"):
        share(box_solid())
    begun = share.begun_with(2 * float(FaceCount(1.0)(box_solid().detach())))
    assert float(begun(box_solid()).detach()) == pytest.approx(1 / 7)


def test_face_count_counts_random_folds():
    """A one-layer network's folds are planes: on many of them Crofton's formula is close."""
    network = random_mlp(3, 150, 1, seed=2)
    with torch.no_grad():
        network[-1].bias -= network(torch.zeros(1, 3, dtype=torch.float64))[0]
        surface = extract_surface(network, bounds=(-0.5, 0.5))
    assert float(FaceCount(1.0)(surface)) == pytest.approx(surface.num_faces, rel=0.25)


def test_normal_variation_of_one_edge():
    """Length 2, bent by 0.5, between two triangles of area 1."""
    expected = 2 * 2 * math.sin(0.25) / 2
    assert float(NormalVariation(1.0)(two_triangles(0.5))) == pytest.approx(expected)


def test_normal_variation_does_not_reward_flat_edges():
    """The box's bottom cut in two: one more edge, and nothing changes. Smoothness falls."""
    box = box_solid(1, 2, 3)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [1, 5, 7, 3]]
    cut = PolygonMesh.from_polygons(box.vertices, [*faces, [0, 2, 6], [0, 6, 4]])
    assert float(NormalVariation(1.0)(cut)) == pytest.approx(float(NormalVariation(1.0)(box)))
    assert float(Smoothness(1.0)(cut)) < float(Smoothness(1.0)(box)) - 0.1


def test_normal_variation_measures_curvature():
    """Of a fine triangulation of a sphere of radius r: of the order of 2 / r."""
    one, two = (float(NormalVariation(1.0)(ball_solid(r))) for r in (0.25, 0.5))
    assert one == pytest.approx(2 * two)
    assert 2 < two * 0.5 < 3


def test_roundness_of_an_equilateral_triangle():
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]]).double()
    surface = tetrahedron_solid(corners)
    for reduction in ("mean", "area"):
        found = PolygonRoundness(1.0, reduction=reduction)(surface)
        assert float(found) == pytest.approx(1 - math.pi / (3 * math.sqrt(3)))


def test_roundness_of_slivers_is_one_and_its_gradient_finite():
    """A triangle without area, and one that is a point."""
    corners = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5], [5, 5, 5], [5, 5, 5]]
    vertices = torch.tensor(corners, dtype=torch.float64, requires_grad=True)
    surface = PolygonMesh.from_polygons(vertices, [[0, 1, 2], [3, 4, 5]])
    loss = PolygonRoundness(1.0)(surface)
    loss.backward()
    assert float(loss) == 1
    assert torch.isfinite(vertices.grad).all()


def test_an_edge_of_no_length_is_short():
    corners = [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    vertices = torch.tensor(corners, dtype=torch.float64, requires_grad=True)
    loss = ShortEdges(1.0)(PolygonMesh.from_polygons(vertices, [[0, 1, 2]]))
    loss.backward()
    assert float(loss) == pytest.approx(1 / 3)
    assert torch.isfinite(vertices.grad).all()


@pytest.mark.parametrize(
    "loss",
    [
        EdgeLength(1.0, power=2.0),
        EdgeLength(1.0, power=2.0, target=0.7),
        EdgeLength(1.0, reduction="mean", target=0.7),
        ShortEdges(1.0, threshold=1.2),
        SmallFaces(1.0, area=0.3),
        Smoothness(1.0),
        NormalVariation(1.0),
        FaceCount(1.0),
        PolygonRoundness(1.0),
        PolygonRoundness(1.0, reduction="area"),
    ],
)
def test_gradients_of_vertices_are_central_differences(loss):
    """On triangles, which stay flat however their corners move."""
    corners = torch.tensor([[0, 0, 0.1], [1, 0.2, 0], [0.1, 1, 0], [0.2, 0.1, 1.3]])
    assert_gradient(loss, tetrahedron_solid(corners.double()))
    assert_gradient(loss, two_triangles(0.7))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EdgeLength(1.0, power=0.5), "power"),
        (lambda: EdgeLength(float("nan")), "weight"),
        (lambda: EdgeLength(1.0, target=-1.0), "target"),
        (lambda: ShortEdges(1.0, threshold=0.0), "threshold"),
        (lambda: FaceTarget(1.0, faces=0), "faces"),
        (lambda: SmallFaces(1.0, area=-1.0), "area"),
        (lambda: Smoothness(1.0, power=0.0), "power"),
    ],
)
def test_settings_are_checked(build, message):
    with pytest.raises(InputError, match=message):
        build()
