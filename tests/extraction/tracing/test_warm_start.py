"""Tracing that goes on from the last surface must give the surface of a cold start."""

import pytest
import torch

import shapeopt
from tests.extraction.tracing.comparing import (
    BACKENDS,
    assert_same,
    cells,
    centred_mlp,
    fit_step,
    tracer_of,
    trained_mlp,
)
from tests.sample_networks import octahedron

pytestmark = pytest.mark.filterwarnings("error:edge subdivision was used")
"""Tracing that gives up would be right here by falling back."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("dimension", "rate", "backend"),
    [
        (3, 1e-3, "compiled"),
        (3, 1e-2, "compiled"),
        (3, 1e-2, "plain"),
        (2, 3e-3, "plain"),
    ],
)
def test_warm_start_equals_subdivision_in_every_step(dimension, rate, backend):
    torch.manual_seed(0)
    network = shapeopt.sdf_network(12, 2, dimension)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    tracer = tracer_of(network, search_every=1000, backend=backend)
    changed, before = 0, []
    for _ in range(40):
        fit_step(network, optimiser, torch.zeros(1, dimension), generator, radius=0.3)
        with torch.no_grad():
            surface = tracer()
            expected = shapeopt.extract_surface(network, dtype=torch.float64)
        assert_same(surface, expected, tolerance=1e-5)
        changed += before != cells(surface)
        before = cells(surface)
    assert changed > 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_warm_start_survives_a_jump_and_finds_new_components(backend):
    network = trained_mlp(3, 12, 12, 1, seed=1, steps=100)
    other = trained_mlp(3, 12, 12, 1, seed=2, steps=100)
    tracer = tracer_of(network, search_every=1, backend=backend)
    with torch.no_grad():
        tracer()
        network.load_state_dict(other.state_dict())
        for _ in range(2):
            surface = tracer()
        assert_same(surface, shapeopt.extract_surface(network, dtype=torch.float64), 1e-5)


def test_warm_start_keeps_a_part_that_the_search_cannot_see():
    network = octahedron(0.3)
    tracer = tracer_of(network, seeds=3, search_every=0)
    with torch.no_grad():
        network[0].weight += 0.1 * torch.rand(6, 3)  # no more coinciding folds
        tracer()
        for radius in torch.linspace(0.3, 0.02, 30):
            network[2].bias.fill_(-radius)
            surface = tracer()
        assert_same(surface, shapeopt.extract_surface(network), 1e-9)


def test_another_network_starts_cold():
    extractor = shapeopt.Tracing()
    networks = [centred_mlp(3, 12, 12, 1, seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        for network in networks:
            surface = shapeopt.extract_surface(network, extractor=extractor)
        cold = shapeopt.extract_surface(network, extractor=shapeopt.Tracing())
    assert torch.equal(surface.vertices, cold.vertices)


def test_a_warm_start_is_a_cold_one_bit_for_bit():
    torch.manual_seed(0)
    network = shapeopt.sdf_network(12, 2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    tracing = shapeopt.Tracing()
    for _ in range(10):
        warm = shapeopt.extract_surface(network, extractor=tracing, dtype=torch.float64)
        cold = shapeopt.extract_surface(network, method="trace", dtype=torch.float64)
        for name in ("vertices", "edges", "face_offsets", "face_vertices", "face_normals"):
            assert torch.equal(getattr(warm, name), getattr(cold, name)), name
        fit_step(network, optimiser, torch.zeros(1, 3), generator, radius=0.3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_warm_start_has_the_gradient_of_a_cold_start(backend):
    network = trained_mlp(3, 10, 10, 1, seed=4).double()
    tracer = tracer_of(network, backend=backend)
    with torch.no_grad():
        tracer()
        network[0].bias += 1e-4
    gradients = []
    for surface in (tracer(), shapeopt.extract_surface(network)):
        network.zero_grad()
        (surface.edge_lengths().sum() + surface.dihedral_angles()[0].sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-8)
