"""What tests of tracing share: networks, solvers, and the comparison of surfaces cell by cell."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

import shapeopt
from shapeopt import PolyhedralSurface
from shapeopt.extraction.condition import condition
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.seeds import measured_scale
from shapeopt.extraction.tracing.solver import zero_cell_solver
from shapeopt.networks.affine import without_graph
from tests.sample_networks import random_mlp

BACKENDS = ["plain", "compiled"]
"""What every test in 3D runs with; in 2D there is the plain one alone."""


def centred_mlp(*sizes: int, seed: int) -> nn.Sequential:
    """A random network whose zero set halves the box."""
    network = random_mlp(*sizes, seed=seed)
    with torch.no_grad():
        values = network(torch.rand(1000, sizes[0], dtype=torch.float64) - 0.5)
        network[-1].bias -= values.median()
    return network


def trained_mlp(*sizes: int, seed: int, steps: int = 200) -> nn.Sequential:
    """A network trained on the distance to three balls, which give it several components."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-0.25, -0.25, 0.0], [0.25, -0.2, 0.1], [0.0, 0.25, -0.1]])
    centres = centres[:, : sizes[0]]
    torch.manual_seed(seed)
    network = shapeopt.sdf_network(sizes[1], len(sizes) - 2, sizes[0])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        fit_step(network, optimiser, centres, generator)
    return network


def fit_step(network, optimiser, centres, generator, radius=0.15) -> None:
    points = torch.rand(1024, centres.shape[1], generator=generator) - 0.5
    distances = (points[:, None] - centres).norm(dim=2).amin(dim=1) - radius
    loss = (network(points)[:, 0] - distances).abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def traced(network: nn.Module, **settings) -> PolyhedralSurface:
    """The surface from a cold start."""
    return shapeopt.extract_surface(network, extractor=shapeopt.Tracing(**settings))


def tracer_of(network: nn.Module, **settings):
    """Gives the surface of the network, warm from the second call on."""
    extractor = shapeopt.Tracing(**settings)
    return lambda: shapeopt.extract_surface(network, extractor=extractor)


def cells(surface: PolyhedralSurface):
    """Vertices, edges and polygons as sorted keys; a polygon as its cycle from the least key on."""
    keys = surface.signs.vertex_keys
    corners = keys[surface.face_vertices].tolist()
    offsets = surface.face_offsets.tolist()
    cycles = []
    for start, end in pairwise(offsets):
        cycle = corners[start:end]
        least = cycle.index(min(cycle))
        cycles.append((*cycle[least:], *cycle[:least]))
    edges = keys[surface.edges].sort(dim=1).values.tolist()
    return sorted(keys.tolist()), sorted(map(tuple, edges)), sorted(cycles)


def assert_same(found: PolyhedralSurface, expected: PolyhedralSurface, tolerance=1e-9) -> None:
    for mine, theirs in zip(cells(found), cells(expected), strict=True):
        assert mine == theirs
    one, two = found.signs.vertex_keys.argsort(), expected.signs.vertex_keys.argsort()
    for field in ("vertex_zeros", "vertex_plus_bits"):
        mine, theirs = getattr(found.signs, field)[one], getattr(expected.signs, field)[two]
        assert torch.equal(mine.sort(dim=1).values, theirs.sort(dim=1).values)
    moved = (found.vertices[one] - expected.vertices[two]).abs().max()
    assert float(moved) < tolerance
    my_normals = sorted(found.face_normals.double().sum(dim=1).tolist())
    normals = sorted(expected.face_normals.double().sum(dim=1).tolist())
    assert np.allclose(my_normals, normals, atol=1e3 * tolerance)


def solver_of(network: nn.Module, backend: str) -> ZeroCellSolver:
    """The cells and vertices of a network in the box of size 1."""
    unit = condition(*prepare(network, (-0.5, 0.5), None))
    constant, domain = without_graph(unit.layers), unit.box
    return zero_cell_solver(constant, domain, measured_scale(constant, domain), backend)
