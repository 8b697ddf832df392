"""Gradients through the vertices against central differences in float64."""

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt.complex.at_vertices import AtVertices
from shapeopt.complex.differentiate import (
    active_gradients,
    affine_gradients,
    differentiable_vertices,
    outputs_at,
)
from shapeopt.extraction.extract import prepare
from shapeopt.losses import EdgeLength, FaceCount, Smoothness
from tests.extraction.tracing.comparing import centred_mlp
from tests.sample_networks import random_mlp

MEASURES = {
    "edge length": EdgeLength(1.0),
    "edge length squared": EdgeLength(1.0, power=2.0, reduction="mean"),
    "smoothness": Smoothness(1.0),
    "smoothness, power 1": Smoothness(1.0, power=1.0),
    "face count": FaceCount(1.0),
    "area": lambda surface: surface.area(),
    "volume": lambda surface: surface.volume(),
}


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    """A closed surface inside the box, of some hundred polygons."""
    torch.manual_seed(3)
    network = shapeopt.sdf_network(8, 2).double()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(300):
        points = torch.rand(512, 3, dtype=torch.float64) - 0.5
        distance = (points * torch.tensor([1.0, 1.3, 1.6])).norm(dim=1) - 0.3
        loss = (network(points).squeeze(1) - distance).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module")
def differences(network) -> dict[str, torch.Tensor]:
    """Central differences of all measures by each weight; NaN where the cells change."""
    keys = shapeopt.extract_surface(network).signs.vertex_keys.sort().values
    step = 1e-6
    rows = []
    for parameter in network.parameters():
        flat = parameter.data.view(-1)
        for i in range(len(flat)):
            before = flat[i].clone()
            values, same_cells = [], True
            for sign in (1, -1):
                flat[i] = before + sign * step
                with torch.no_grad():
                    moved = shapeopt.extract_surface(network)
                    same_cells &= torch.equal(moved.signs.vertex_keys.sort().values, keys)
                    values.append(torch.stack([measure(moved) for measure in MEASURES.values()]))
            flat[i] = before
            difference = (values[0] - values[1]) / (2 * step)
            rows.append(difference if same_cells else torch.full_like(difference, torch.nan))
    return dict(zip(MEASURES, torch.stack(rows).unbind(1), strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize("name", MEASURES)
def test_gradient_with_respect_to_all_weights(network, differences, name):
    surface = shapeopt.extract_surface(network)
    parts = torch.autograd.grad(MEASURES[name](surface), list(network.parameters()))
    gradient = torch.cat([part.flatten() for part in parts])
    expected = differences[name]
    same_cells = ~expected.isnan()
    scale = expected.abs().clamp(min=1e-2 * float(gradient.norm()))
    assert float((((gradient - expected).abs() / scale)[same_cells]).max()) < 1e-5
    assert int(same_cells.sum()) > 0.8 * len(gradient)


def test_vertices_move_as_predicted():
    """To first order, every vertex of the whole complex, those at the box included."""
    network = random_mlp(3, 6, 4, 1, seed=1)
    parameters = list(network.parameters())
    direction = [torch.randn_like(p) for p in parameters]
    step = 1e-7
    before = shapeopt.extract_complex(network, bounds=(-2, 2))
    # d/dv of <vertices, v>-gradients along the direction: a forward product by two backward ones.
    probe = torch.zeros_like(before.vertices, requires_grad=True)
    gradients = torch.autograd.grad(before.vertices, parameters, probe, create_graph=True)
    along = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    (predicted,) = torch.autograd.grad(along, probe)

    with torch.no_grad():
        for parameter, d in zip(parameters, direction, strict=True):
            parameter += step * d
        after = shapeopt.extract_complex(network, bounds=(-2, 2))
    one, two = (vertex_keys(c.skeleton).sort() for c in (before, after))
    assert torch.equal(one.values, two.values)
    observed = (after.vertices[two.indices] - before.vertices[one.indices]) / step
    torch.testing.assert_close(
        predicted[one.indices],
        observed.detach(),
        rtol=1e-3,
        atol=1e-3 * float(observed.detach().max()),
    )


def vertex_keys(skeleton):
    return skeleton.keys.of_cells(
        skeleton.vertex_plus_bits, skeleton.vertex_zeros, skeleton.constraints
    )


def test_value_is_on_the_surface():
    network = random_mlp(3, 16, 16, 1, dtype=torch.float32)
    surface = shapeopt.extract_surface(network, bounds=(-2, 2))
    assert network(surface.vertices).abs().max() < 1e-5


def test_singular_vertices_get_no_gradient_but_stay():
    network = random_mlp(3, 8, 1)
    with torch.no_grad():
        network[0].weight[1] = network[0].weight[0]  # two equal neurons: their folds coincide
        network[0].bias[1] = network[0].bias[0]
    surface = shapeopt.extract_surface(network, bounds=(-2, 2))
    surface.edge_lengths().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    assert network(surface.vertices).abs().max() < 1e-12


@pytest.mark.parametrize("sizes", [(3, 6, 1), (3, 12, 12, 1), (3, 40, 33, 7, 1)])
def test_the_compiled_gradients_are_those_of_torch(sizes):
    # The surface leaves the box, so that planes of the box are among the zeros.
    network = centred_mlp(*sizes, seed=0).double()
    surface = shapeopt.extract_surface(network).detach()
    signs = surface.signs
    layers, box = prepare(network, (-0.5, 0.5), torch.float64)
    assert (signs.vertex_zeros >= signs.constraints.num_neurons).any()
    torch.manual_seed(0)
    near = surface.vertices + 1e-6 * torch.randn_like(surface.vertices)
    rows = active_gradients(layers, signs.constraints, signs.vertex_zeros, signs.vertex_plus_bits)
    rows[0, 2] = rows[0, 1]  # singular: this vertex stays, and has no gradient
    rows[1, 2] = rows[1, 1] + 1e-5 * rows[1, 2]  # a step too long: it stays
    known = AtVertices(rows, rows.new_empty(len(rows), 0))
    vertices = near, signs.vertex_zeros, signs.vertex_plus_bits, known

    def moved(compiled: bool) -> torch.Tensor:
        given = layers, box, signs.constraints, *vertices
        return differentiable_vertices(*given, compiled=compiled)

    def slopes(compiled: bool) -> torch.Tensor:
        cells = signs.constraints, signs.face_plus_bits
        return affine_gradients(layers, *cells, compiled=compiled)

    parameters = list(network.parameters())
    stays = box.put_on_planes(near, signs.vertex_zeros - signs.constraints.num_neurons)
    assert torch.equal(moved(True)[:2], stays[:2])
    for function in (moved, slopes):
        plain, compiled = function(False), function(True)
        assert torch.allclose(plain, compiled, rtol=0, atol=1e-12)
        up = torch.randn_like(plain)
        expected = torch.autograd.grad(plain, parameters, up, allow_unused=True)
        found = torch.autograd.grad(compiled, parameters, up, allow_unused=True)
        for one, other in zip(expected, found, strict=True):
            if one is not None:
                assert torch.allclose(one, other, rtol=0, atol=1e-8 * float(one.abs().amax()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_solved_vertices_have_the_gradient_of_a_step_to_them(dtype, tolerance):
    network = centred_mlp(3, 40, 33, 7, 1, seed=0).double()
    surface = shapeopt.extract_surface(network).detach()
    signs = surface.signs
    layers, box = prepare(network, (-0.5, 0.5), torch.float64)
    cells = signs.constraints, surface.vertices, signs.vertex_zeros, signs.vertex_plus_bits
    rows = active_gradients(layers, cells[0], *cells[2:])
    outputs = outputs_at(layers, cells[0], cells[1], cells[3]).to(dtype)
    solved = differentiable_vertices(
        layers, box, *cells, AtVertices(rows, outputs), compiled=True, sums_in=dtype
    )
    assert torch.equal(solved, surface.vertices)
    stepped = differentiable_vertices(layers, box, *cells, compiled=True, sums_in=dtype)
    torch.manual_seed(0)
    up, parameters = torch.randn_like(solved), list(network.parameters())
    plain = differentiable_vertices(layers, box, *cells)
    expected = torch.autograd.grad(plain, parameters, up)
    for vertices in (solved, stepped):
        found = torch.autograd.grad(vertices, parameters, up)
        for one, other in zip(expected, found, strict=True):
            assert torch.allclose(one, other, rtol=0, atol=tolerance * float(one.abs().amax()))
