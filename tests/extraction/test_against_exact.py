"""Extractors against exact arithmetic, the judge itself against hand-computed shapes.

``pytest -m campaign`` tries 20,000 generic and 5,000 degenerate networks, in about an hour;
``experiments/trust`` does the same with a table, on several cores.
"""

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import shapeopt
from tests.oracle.exact import exact_surface
from tests.oracle.generators import (
    DEGENERATE,
    GENERIC,
    Case,
    Draft,
    Layers,
    absolutes,
    as_case,
    generate,
    tree,
)
from tests.oracle.judge import EXTRACTORS, Truth, judge, verdicts

STRIP = Path(__file__).resolve().parents[1] / "files" / "strip_3d_2x6.npz"


def case_of(layers: Layers, half: float = 1.0) -> Case:
    return as_case("by hand", 0, Draft(layers, -half, half), torch.float64)


def exact(layers: Layers, half: float = 1.0):
    case = case_of(layers, half)
    return exact_surface(case.network, *case.bounds)


def zigzag_of(values: list[float], knots: list[float], radius: float) -> Layers:
    """Steps of slope 1, -1, 1, ... of |x| + |y| + |z|, less the radius."""
    inner = absolutes(np.eye(3), np.zeros(3), 0.0)
    weight = np.repeat(inner[1][0], len(knots), axis=0)
    return [inner[0], (weight, -np.array(knots)), (np.array([values]), np.array([-radius]))]


# The judge on shapes computed by hand. Lengths are in units of the box's side, which is 2.


def test_an_octahedron():
    found = exact(absolutes(np.eye(3), np.zeros(3), 0.5))
    assert len(found.polygons) == 8
    assert found.area == pytest.approx(4 * 3**0.5 * 0.25**2, rel=1e-15)
    assert found.volume == pytest.approx(4 / 3 * 0.25**3, rel=1e-15)
    assert found.is_closed
    assert found.is_manifold
    assert not found.leaves_box
    assert not found.touches
    assert found.num_components == 1
    assert all(len(polygon) == 3 for polygon in found.polygons)


def test_a_cube_is_the_maximum_of_six_planes():
    rows = np.concatenate([np.eye(3), -np.eye(3)])
    found = exact(tree([(rows, np.full(6, -0.5))], [("max", 6)]))
    assert found.area == pytest.approx(6 * 0.5**2, rel=1e-15)
    assert found.volume == pytest.approx(0.5**3, rel=1e-15)
    assert found.is_closed
    assert found.num_components == 1


def test_a_tetrahedron_is_the_maximum_of_four_planes():
    rows = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    found = exact(tree([(rows, np.full(4, -0.25))], [("max", 4)]))
    # Corners are -0.25 (1, 1, 1) and so on, hence edges of 0.25 * 8^0.5, half that in box units.
    edge = 0.25 * 8**0.5 / 2
    assert found.area == pytest.approx(3**0.5 * edge**2, rel=1e-15)
    assert found.volume == pytest.approx(edge**3 / (6 * 2**0.5), rel=1e-15)


def test_polygons_are_seen_counter_clockwise_from_outside():
    found = exact(absolutes(np.eye(3), np.zeros(3), 0.5))
    total = 0.0
    for polygon in found.polygons:
        a, b, c = found.places(polygon)
        total += np.dot(a, np.cross(b, c)) / 6
    assert total == pytest.approx(found.volume, rel=1e-14)


def test_shells_within_shells():
    found = exact(zigzag_of([1.0, -2.0, 2.0], [0.0, 0.25, 0.5], 0.125))
    # f = 0 at radius 1/8, 3/8 and 5/8; inside of the first, and between the others.
    radii = np.array([1, 3, 5]) / 16
    assert found.num_components == 3
    assert found.is_closed
    assert found.area == pytest.approx(4 * 3**0.5 * (radii**2).sum(), rel=1e-15)
    inside = radii[0] ** 3 - radii[1] ** 3 + radii[2] ** 3
    assert found.volume == pytest.approx(4 / 3 * inside, rel=1e-15)


def test_a_slab_on_which_f_is_zero():
    weight = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    found = exact([(weight, np.array([-0.25, -0.5])), (np.array([[1.0, -1.0]]), np.zeros(1))])
    # f = 0 for -0.5 < x < 0.25, and the surface is where f < 0 begins.
    assert found.zero_volume == pytest.approx(0.75 / 2, rel=1e-15)
    assert found.volume == pytest.approx(0.5 / 2, rel=1e-15)
    assert found.area == 1
    assert {corner.point[0] / corner.point[-1] for p in found.polygons for corner in p} == {-0.5}
    assert found.touches


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_f_that_touches_zero_has_no_surface(sign):
    weight = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    found = exact([(weight, np.zeros(2)), (np.array([[sign, sign]]), np.zeros(1))])
    assert not found.polygons
    assert found.touches
    assert (found.ridge_area, found.sheet_area) == ((1, 0) if sign > 0 else (0, 1))


def test_a_face_of_the_box_is_no_surface():
    rows = np.concatenate([np.eye(3), -np.eye(3)])
    found = exact(tree([(rows, np.array([-1.0, *[-0.5] * 5]))], [("max", 6)]))
    assert found.wall_area == pytest.approx(0.5**2)
    assert found.area == pytest.approx(0.5**2 + 4 * 0.5 * 0.75)
    assert found.is_closed
    assert found.leaves_box


def test_sheets_through_each_other():
    weight = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    found = exact([(weight, np.zeros(4)), (np.array([[1.0, 1, -1, -1]]), np.zeros(1))])
    assert len(found.polygons) == 4
    assert not found.is_manifold
    assert found.is_closed
    assert found.volume == pytest.approx(0.5)
    assert found.area == pytest.approx(2 * 2**0.5)


def test_weights_are_taken_as_the_floats_that_they_are():
    # f = x - 0.1 with 0.1 as a float, which is a little more than a tenth.
    found = exact([(np.array([[1.0, 0.0]]), np.array([-0.1]))])
    ((start, end),) = found.polygons
    for corner in (start, end):
        assert Fraction(corner.point[0], corner.point[-1]) == Fraction(0.1) > Fraction(1, 10)


# The judge on surfaces that are wrong


def broken(**changes):
    """The octahedron with one field changed by a function of the surface."""

    def extractor(case: Case) -> shapeopt.PolyhedralSurface:
        surface = shapeopt.extract_surface(case.network, case.bounds)
        return dataclasses.replace(
            surface, **{name: change(surface) for name, change in changes.items()}
        )

    return extractor


def one_polygon_reversed(surface):
    corners, stop = surface.face_vertices.clone(), surface.face_offsets[1]
    corners[:stop] = corners[:stop].flip(0)
    return corners


def without_last_polygon(surface):
    last = surface.edge_faces == surface.num_faces - 1
    return surface.edge_faces.masked_fill(last, -1)


def one_vertex_moved(surface):
    vertices = surface.vertices.clone()
    vertices[0] += 1e-7
    return vertices


@pytest.mark.parametrize(
    ("fault", "extractor"),
    [
        ("winding", broken(face_vertices=one_polygon_reversed)),
        ("position", broken(vertices=one_vertex_moved)),
        ("not finite", broken(vertices=lambda surface: surface.vertices / 0)),
        ("normal", broken(face_normals=lambda surface: surface.face_normals * 0.5)),
        ("edge faces", broken(edge_faces=lambda surface: surface.edge_faces.clamp(max=-1))),
        ("edges", broken(edges=lambda surface: surface.edges[[1, *range(1, surface.num_edges)]])),
        (
            "open",
            broken(
                face_offsets=lambda surface: surface.face_offsets[:-1],
                face_vertices=lambda surface: surface.face_vertices[: surface.face_offsets[-2]],
                face_normals=lambda surface: surface.face_normals[:-1],
                edge_faces=without_last_polygon,
            ),
        ),
        ("area", broken(vertices=lambda surface: surface.vertices * 1.001)),
        ("area", broken(face_normals=lambda surface: -surface.face_normals)),
    ],
)
def test_the_judge_notices(fault, extractor, monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "broken", extractor)
    turned = np.linalg.qr(np.array([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]]))[0]
    truth = Truth(case_of(absolutes(turned, np.zeros(3), 0.5)))
    assert judge(truth, "compiled").outcome == "right"
    verdict = judge(truth, "broken")
    assert (verdict.outcome, verdict.fault) == ("silent", fault)


def test_the_judge_notices_an_empty_answer(monkeypatch):
    def empty(case):
        raise shapeopt.EmptySurfaceError("nothing")

    monkeypatch.setitem(EXTRACTORS, "broken", empty)
    verdict = judge(Truth(case_of(absolutes(np.eye(3), np.zeros(3), 0.5))), "broken")
    assert (verdict.outcome, verdict.fault) == ("silent", "empty")


# Extractors


@pytest.fixture
def one_thread():
    """Tiny networks take longer in several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def is_trusted(kind: str, seed: int) -> None:
    wrong = {
        name: verdict
        for name, verdict in verdicts(generate(kind, seed)).items()
        if verdict.outcome in ("silent", "crashed")
    }
    assert not wrong, f"generate({kind!r}, {seed})"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", sorted(GENERIC | DEGENERATE))
def test_one_network_of_each_kind(kind):
    is_trusted(kind, 0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        # The two sides of a sheet have their whole border in common, with caps of no extent.
        ("thinner_sheet", 5),
        # Of two edges that become one only the one that goes lies in a face of the box.
        ("folds_along_faces", 6),
        # Polygons are so thin that a fold tells which way round they run, or a face of the box.
        ("near_duplicate", 5),
        ("folds_through_a_line", 4),
        # There is a region on either side of its polygons, and tracing would find it from both.
        ("surface_along_a_fold", 15),
    ],
)
def test_networks_of_which_few_are_like(kind, seed, monkeypatch):
    # A thin polygon's own fold tells which way round it runs; neighbours need not settle it.
    settled = "shapeopt.extraction.finish.settled_by_neighbours"
    monkeypatch.setattr(settled, lambda found, *_, **__: found.face_vertices)
    found = verdicts(generate(kind, seed))
    assert {verdict.outcome for verdict in found.values()} == {"right"}, found


@pytest.mark.campaign
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", GENERIC | DEGENERATE)
def test_many_networks_of_each_kind(kind):
    kinds, total = (GENERIC, 20_000) if kind in GENERIC else (DEGENERATE, 5_000)
    for seed in range(-(-total // len(kinds))):
        is_trusted(kind, seed)


def test_cases_are_the_same_every_time():
    one, two = (generate("random_3d", 5) for _ in range(2))
    assert one.bounds == two.bounds
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert isinstance(one.network[0], nn.Linear)


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_a_strip_between_folds_that_lie_on_each_other(extractor):
    """Of a random network that is 0 all over a region. A thin polygon has the same fold on both of
    its long edges when others were contracted: it ran the wrong way round."""
    with np.load(STRIP) as file:
        layers = [(file[f"W{i}"], file[f"b{i}"]) for i in range(3)]
    case = as_case("by hand", 0, Draft(layers, -0.2, 2.0), torch.float64)
    found = judge(Truth(case), extractor)
    assert found.outcome == "right", found
