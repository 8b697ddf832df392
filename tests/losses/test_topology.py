"""Components and handles that are too many: none are left after some steps."""

import itertools
import math

import numpy as np
import pytest
import torch
import trimesh

from shapeopt import InputError, PolygonMesh
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.losses import Topology
from shapeopt.mesh.certificate import certify
from shapeopt.networks.convex_union import ConvexUnion
from tests.networks.test_convex_union import boxes
from tests.solids import assert_gradient, ball_solid, box_solid

SIDES = 16
ROUND_THE_TUBE = SIDES * 2 * 0.1 * math.sin(math.pi / SIDES)


def torus(at: tuple[float, float, float] = (0, 0, 0), tube: float = 0.1) -> trimesh.Trimesh:
    made = trimesh.creation.torus(0.3, tube, major_sections=40, minor_sections=SIDES)
    return made.apply_translation(at)


def ball(radius: float, at: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(2, radius).apply_translation(at)


def mesh(*parts: trimesh.Trimesh) -> PolygonMesh:
    made = trimesh.util.concatenate(parts)
    vertices = torch.tensor(made.vertices, dtype=torch.float64, requires_grad=True)
    return PolygonMesh.from_polygons(vertices, made.faces.tolist())


def value(loss: Topology, surface: PolygonMesh) -> float:
    return float(loss(surface).detach())


def test_a_ball_costs_nothing():
    for surface in ball_solid(), box_solid():
        assert value(Topology(1.0), surface) == 0


def test_a_handle_costs_what_goes_round_it():
    assert value(Topology(1.0), mesh(torus())) == pytest.approx(ROUND_THE_TUBE)
    assert value(Topology(1.0, genus=1), mesh(torus())) == 0


def test_components_cost_the_root_of_their_area():
    small, smaller = ball(0.1, (0.5, 0, 0)), ball(0.05, (0, 0.5, 0))
    surface = mesh(small, ball(0.3, (0, 0, 0)), smaller)
    expected = math.sqrt(smaller.area)
    assert value(Topology(1.0, components=3), surface) == 0
    assert value(Topology(1.0, components=2), surface) == pytest.approx(expected)
    expected += math.sqrt(small.area)
    assert value(Topology(1.0), surface) == pytest.approx(expected)


def test_handles_of_components_that_go_do_not_count():
    surface = mesh(ball(0.5, (0, 0, 1)), torus())
    assert value(Topology(1.0), surface) == pytest.approx(math.sqrt(torus().area))
    both = mesh(torus(), torus((1, 0, 0), tube=0.05))
    assert value(Topology(1.0, components=2, genus=2), both) == 0
    thin = ROUND_THE_TUBE / 2
    assert value(Topology(1.0, components=2, genus=1), both) == pytest.approx(thin)


def test_an_open_surface_has_no_handles():
    made = torus()
    open_torus = trimesh.Trimesh(made.vertices, made.faces[1:], process=False)
    assert value(Topology(1.0), mesh(open_torus)) == 0


def test_gradients():
    ring = trimesh.creation.torus(0.3, 0.1, major_sections=5, minor_sections=3)
    ring.vertices *= np.random.default_rng(0).uniform(0.97, 1.03, ring.vertices.shape)
    assert_gradient(Topology(1.0), mesh(ring), step=1e-7, tolerance=1e-6)
    small = trimesh.creation.box((0.1, 0.2, 0.3)).apply_translation((1, 0, 0))
    two = mesh(trimesh.creation.icosphere(0, 0.3), small)
    assert_gradient(Topology(1.0), two, step=1e-6, tolerance=1e-6)


def ring_and_box() -> ConvexUnion:
    """A ring of four bars, and a box beside it."""
    long, low, high = [-0.3, 0.3], [-0.3, -0.2], [0.2, 0.3]
    sides = [(long, low), (long, high), (low, long), (high, long)]
    bars = [([x[0], y[0], -0.07], [x[1], y[1], 0.07]) for x, y in sides]
    network = boxes(*bars, ([-0.1, -0.1, 0.2], [0.1, 0.1, 0.3]))
    with torch.no_grad():
        network.offsets += 1e-3 * torch.rand(network.offsets.shape, dtype=torch.float64)
    return network


def test_gradients_of_the_planes_of_a_union():
    network, extract, step = ring_and_box(), HalfSpaces(), 1e-6
    Topology(1.0)(extract(network)).backward()
    for part, plane in itertools.product(range(5), range(6)):
        values = []
        for side in (1, -1):
            with torch.no_grad():
                network.offsets[part, plane] += side * step
                values.append(float(Topology(1.0)(extract(network))))
                network.offsets[part, plane] -= side * step
        slope = (values[0] - values[1]) / (2 * step)
        assert float(network.offsets.grad[part, plane]) == pytest.approx(slope, abs=1e-5)
    assert float(network.offsets.grad.abs().max()) > 0.1


def test_what_is_too_much_goes():
    """The ring is cut, and the box vanishes."""
    network = ring_and_box()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    extract, seen = HalfSpaces(), []
    for _ in range(40):
        surface = extract(network)
        seen.append([part.genus for part in certify(surface.detach()).components])
        loss = Topology(1.0)(surface)
        if float(loss.detach()) == 0:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert seen[0] == [1, 0]
    assert seen[-1] == [0]


def test_settings_are_checked():
    for settings in {"components": 0}, {"genus": -1}:
        with pytest.raises(InputError, match="Topology"):
            Topology(1.0, **settings)
