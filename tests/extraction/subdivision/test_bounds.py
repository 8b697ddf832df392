"""Pruned subdivision must lose no cell of the zero set; its bounds must hold."""

import pytest
import torch

from shapeopt import extract_surface
from shapeopt.complex.signs import Constraints, pack
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.no_zero import NoZero
from shapeopt.extraction.subdivision import subdivide
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.bounds import Pruning, may_hold_zero
from shapeopt.networks.affine import AffineLayer, without_graph
from tests.sample_networks import octahedron, random_mlp

ALWAYS = Pruning(min_vertices=0, min_layers=1)


def balanced(network):
    """Shifts the output so that it changes sign in the box [-2, 2]^d."""
    with torch.no_grad():
        points = torch.rand(1000, network[0].in_features, dtype=torch.float64) * 4 - 2
        network[-1].bias -= network(points).median()
    return network


def assert_same_surface(network, bounds, backend, dtype=torch.float64) -> tuple[int, int]:
    """Compares both ways to the surface; returns the edges of the whole and the pruned skeleton."""
    layers, box = prepare(network.to(dtype), bounds, dtype)
    layers = without_graph(layers)
    skeletons = [
        subdivide(layers, box, surface_only=only, backend=backend, pruning=ALWAYS)
        for only in (False, True)
    ]
    whole, pruned = (zero_set(layers, box, skeleton) for skeleton in skeletons)
    assert torch.equal(
        whole.signs.vertex_keys.sort().values, pruned.signs.vertex_keys.sort().values
    )
    assert edges_by_key(whole).tolist() == edges_by_key(pruned).tolist()
    assert polygons_by_key(whole) == polygons_by_key(pruned)
    return len(skeletons[0].edges), len(skeletons[1].edges)


def edges_by_key(surface):
    ends = surface.signs.vertex_keys[surface.edges].sort(dim=1).values
    return ends.unique(dim=0)


def polygons_by_key(surface):
    keys = surface.signs.vertex_keys[surface.face_vertices]
    return sorted(
        sorted(part.tolist()) for part in keys.split(surface.face_offsets.diff().tolist())
    )


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("sizes", [(2, 12, 12, 8, 1), (3, 8, 8, 8, 1), (3, 33, 4, 1)])
def test_random_surfaces_lose_nothing(sizes, backend):
    for seed in range(3):
        assert_same_surface(balanced(random_mlp(*sizes, seed=seed)), (-2, 2), backend)


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("name", ["bunny2d_4x32", "bunny_3x16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_surfaces_lose_nothing(reference_network, name, backend, dtype):
    whole, pruned = assert_same_surface(reference_network(name), (-0.5, 0.5), backend, dtype)
    assert pruned < 0.8 * whole


def test_degenerate_surface_loses_nothing():
    assert_same_surface(octahedron(), (-0.5, 0.5), "compiled")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("sizes", "done"),
    [((1, 5, 5, 1), 1), ((2, 9, 7, 5, 1), 0), ((3, 9, 7, 5, 1), 1), ((3, 9, 7, 5, 1), 2)],
)
def test_bounds_leave_room_for_every_value_that_f_has(sizes, done, seed):
    layers = without_graph(prepare(random_mlp(*sizes, seed=seed), (-2, 2), torch.float64)[0])
    constraints = Constraints(tuple(sizes[1:]), sizes[0])
    centre = torch.rand(8, sizes[0], dtype=torch.float64) * 4 - 2
    half = torch.rand(8, sizes[0], dtype=torch.float64) * 0.2
    for point, reach in zip(centre[:, None], half[:, None], strict=True):
        signs, values = signs_and_values(layers, point)
        around = point + reach * (torch.rand(500, sizes[0], dtype=torch.float64) * 2 - 1)
        signs_around, values_around = signs_and_values(layers, around)
        decided = slice(0, constraints.words(done).start)
        inside = (signs_around[:, decided] == signs[:, decided]).all(dim=1)
        for value in (values_around[inside].min(), values_around[inside].max()):
            shifted = [*layers[:-1], AffineLayer(layers[-1].weight, layers[-1].bias - value)]
            assert may_hold_zero(shifted, constraints, done, signs, point, reach).all()
        # ... and say something: in a point f has no other value than its own.
        shifted = [*layers[:-1], AffineLayer(layers[-1].weight, layers[-1].bias - values - 1e-3)]
        assert not may_hold_zero(shifted, constraints, done, signs, point, 0 * reach).any()


def test_bounds_leave_room_for_what_rounding_a_place_loses():
    """f = relu(x - a) - relu(a - x) in a region that is the point a, which float32 cannot hold."""
    place = torch.tensor([[0.1]], dtype=torch.float64)
    ends = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    layers = [AffineLayer(ends, -ends[:, 0] * 0.1), AffineLayer(ends.T, torch.zeros(1).double())]
    signs = torch.zeros(1, 2, dtype=torch.int32)
    assert may_hold_zero(layers, Constraints((2, 1), 1), 0, signs, place, 0 * place).all()


def test_bounds_leave_room_for_the_rounding_of_their_terms():
    """f = sum of c x_i, and less the same again: 0 up to rounding, by large terms that cancel."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        weights = torch.randn(1, 64, generator=generator, dtype=torch.float64)
        layers = [
            AffineLayer(torch.ones(64, 1).double(), torch.full((64,), 1e3).double()),
            AffineLayer(weights, -1e3 * weights.sum(dim=1)),
        ]
        signs = torch.zeros(1, 3, dtype=torch.int32)
        at_0 = torch.zeros(1, 1, dtype=torch.float64)
        assert may_hold_zero(layers, Constraints((64, 1), 1), 0, signs, at_0, at_0).all()


def signs_and_values(layers, points):
    """Packed + signs of all neurons at the points, and f."""
    words = []
    for index, layer in enumerate(layers):
        values = (points if index == 0 else values.relu()) @ layer.weight.T + layer.bias
        words.append(pack(values >= 0))
    return torch.cat(words, dim=1), values[:, 0]


def test_a_network_without_zeros_is_reported_with_its_range():
    layers, box = prepare(octahedron(radius=-1.0), (-0.5, 0.5), None)
    layers = without_graph(layers)
    skeleton = subdivide(layers, box, surface_only=True, pruning=ALWAYS)
    with pytest.raises(NoZero) as none:
        zero_set(layers, box, skeleton)
    # |x1| + |x2| + |x3| + 1
    assert (none.value.low, none.value.high) == pytest.approx((1, 2.5))


@pytest.mark.slow
def test_the_large_reference_surface(reference_network):
    with torch.no_grad():
        surface = extract_surface(reference_network("bunny_8x32"), dtype=torch.float64)
    assert (surface.num_vertices, surface.num_edges) == (111_642, 223_277)
