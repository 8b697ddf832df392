"""Pruned subdivision must lose no cell of the zero set; its bounds must hold."""

import pytest
import torch

from shapeopt import extract_surface
from shapeopt.complex.box import Box
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.no_zero import NoZero
from shapeopt.extraction.subdivision import bounds, bounds_compiled, subdivide
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.pruning import Pruning
from shapeopt.extraction.subdivision.regions import SortedRegions, find_regions
from shapeopt.extraction.tolerances import ROUNDING_ULPS
from shapeopt.networks.affine import AffineLayer, evaluate, without_graph
from tests.sample_networks import octahedron, random_mlp

BOUNDS = {"plain": bounds.may_hold_zero, "compiled": bounds_compiled.may_hold_zero}
ALWAYS = Pruning(min_vertices=0, min_growth=0, min_cuts=0)


def balanced(network):
    """Shifts the output so that it changes sign in the box [-2, 2]^d."""
    with torch.no_grad():
        points = torch.rand(1000, network[0].in_features, dtype=torch.float64) * 4 - 2
        network[-1].bias -= network(points).median()
    return network


def assert_same_surface(
    network, bounds, backend, dtype=torch.float64, cap=False
) -> tuple[int, int]:
    """Compares both ways to the surface; returns the edges of the whole and the pruned skeleton."""
    layers, box = prepare(network.to(dtype), bounds, dtype)
    layers = without_graph(layers)
    skeletons = [
        subdivide(layers, box, surface_only=only, cap=cap, backend=backend, pruning=ALWAYS)
        for only in (False, True)
    ]
    whole, pruned = (zero_set(layers, box, skeleton, cap=cap) for skeleton in skeletons)
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


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("side", [1.0, 0.2])
def test_capped_surfaces_lose_nothing(side, backend):
    for seed in range(6):
        network = balanced(random_mlp(3, 8, 8, 8, 1, seed=seed))
        whole, pruned = assert_same_surface(network, (-side, 2), backend, cap=True)
        assert pruned < whole


def test_degenerate_surface_loses_nothing():
    assert_same_surface(octahedron(), (-0.5, 0.5), "compiled")


def layers_of(sizes, seed=0, linear=None):
    """The layers of a random network; every other neuron of the layer ``linear`` has no ReLU."""
    layers = without_graph(prepare(random_mlp(*sizes, seed=seed), (-2, 2), torch.float64)[0])
    if linear is not None:
        every_other = torch.arange(len(layers[linear].bias)) % 2 == 0
        layers[linear] = layers[linear]._replace(is_linear=every_other)
    return layers


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BOUNDS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("sizes", "done"), [((1, 5, 5, 1), 1), ((2, 9, 7, 5, 1), 1), ((3, 9, 7, 5, 1), 2)]
)
@pytest.mark.parametrize("linear", [None, -2])
def test_bounds_leave_room_for_every_value_that_f_has(sizes, done, linear, seed, backend):
    layers = layers_of(sizes, seed, linear)
    regions, values, insides = regions_of(layers, done)
    every = torch.ones(len(regions), dtype=torch.bool)
    cleared = 0
    for shift in insides.flatten().quantile(torch.linspace(0.02, 0.98, 25).double()).tolist():
        shifted = [*layers[done:-1], AffineLayer(layers[-1].weight, layers[-1].bias - shift)]
        near = BOUNDS[backend](shifted, regions, every, values, ROUNDING_ULPS)
        holds = (insides.amin(dim=1) <= shift) & (insides.amax(dim=1) >= shift)
        assert not (holds & ~near).any()
        cleared += int((~near).sum())
    # ... and they say something.
    assert cleared > 5 * len(regions)


@pytest.mark.parametrize("linear", [None, -2])
@pytest.mark.parametrize("sizes", [(3, 9, 7, 5, 1), (3, 8, 20, 18, 1), (3, 9, 7, 1), (3, 9, 18, 1)])
def test_both_implementations_clear_the_same_regions(sizes, linear):
    layers = layers_of(sizes, linear=linear)
    regions, values, insides = regions_of(layers, 1)
    chosen = torch.arange(len(regions)) % 7 > 0
    for quantile in (0.02, 0.2, 0.5, 0.8, 0.98):
        bias = layers[-1].bias - insides.flatten().quantile(quantile)
        rest = [*layers[1:-1], AffineLayer(layers[-1].weight, bias)]
        given = rest, regions, chosen, values, ROUNDING_ULPS
        plain, compiled = bounds.may_hold_zero(*given), bounds_compiled.may_hold_zero(*given)
        assert torch.equal(plain, compiled)
        assert not plain[~chosen].any()
        assert 0 < plain.sum() < chosen.sum()


def test_errors_beyond_the_number_that_is_kept_apart_count_in_full():
    """On [-1, 1] a sum of |x| by 300 pairs of ReLUs, of which each has an error of its own."""
    count = 300
    signs = torch.tensor([1.0, -1.0]).double().repeat(count)
    first = AffineLayer(torch.ones(1, 1).double(), torch.zeros(1).double())
    second = AffineLayer(signs[:, None], torch.zeros(2 * count).double())
    is_linear = first._replace(is_linear=torch.tensor([True]))
    values = torch.tensor([[-1.0], [1.0]]).double()
    around = torch.zeros(1, 1, dtype=torch.int64)
    regions = SortedRegions(1, torch.tensor([0, 2]), torch.tensor([0, 1]), around)
    for shift, holds in ((-1e-3, True), (1e-3, False)):
        third = AffineLayer(torch.ones(1, 2 * count).double(), torch.tensor([shift]).double())
        given = [is_linear, second, third], regions, torch.ones(1, dtype=torch.bool), values
        for bound in BOUNDS.values():
            assert bound(*given, ROUNDING_ULPS).item() == holds


@pytest.mark.parametrize("backend", BOUNDS)
def test_bounds_leave_room_for_the_rounding_of_their_terms(backend):
    """f = sum of c x_i, and less the same again: 0 up to rounding, by large terms that cancel."""
    generator = torch.Generator().manual_seed(0)
    around = torch.zeros(1, 1, dtype=torch.int64)
    regions = SortedRegions(1, torch.tensor([0, 1]), torch.tensor([0]), around)
    first = AffineLayer(torch.ones(64, 1).double(), torch.zeros(64).double())
    for _ in range(20):
        weights = torch.randn(1, 64, generator=generator, dtype=torch.float64)
        last = AffineLayer(weights, -1e3 * weights.sum(dim=1))
        values = torch.full((1, 64), 1e3, dtype=torch.float64)
        every = torch.ones(1, dtype=torch.bool)
        assert BOUNDS[backend]([first, last], regions, every, values, ROUNDING_ULPS).all()


def test_the_last_hidden_layer_is_bounded_by_the_gaps_of_its_relus():
    """On [-1, 1] f = |x| - 1/4, by two ReLUs of which each is off by up to 1/2 between corners; and
    -f, which is concave: inside it is no less than at the corners."""
    first = AffineLayer(torch.tensor([[1.0], [-1.0]]).double(), torch.zeros(2).double())
    values = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).double()
    regions = SortedRegions(1, torch.tensor([0, 2]), torch.tensor([0, 1]), torch.zeros(1, 1).long())
    every = torch.ones(1, dtype=torch.bool)
    for bound in BOUNDS.values():
        # f at the corners, which is 1 + bias, less the gaps of both, 1/2 each.
        for bias, holds in ((-0.25, True), (-1e-3, True), (1e-3, False)):
            for sign in (1.0, -1.0):
                weight, offset = torch.full((1, 2), sign), torch.tensor([sign * bias])
                last = AffineLayer(weight.double(), offset.double())
                assert bound([first, last], regions, every, values, ROUNDING_ULPS).item() == holds


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("hidden", [2, 3])
@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e150, 1e200])
def test_numbers_of_any_size_lose_nothing(scale, hidden, backend):
    """The square |x| + |y| = 1/2, of values so small or large that their products leave float64."""
    one = torch.eye(2, dtype=torch.float64)
    pairs = torch.cat([one, -one])
    inputs, none = torch.tensor([[1.0, 0], [0, 1], [0.3, 0.7]]).double() * scale, torch.zeros(3)
    is_linear = torch.tensor([True, True, False])  # the last one cuts the square
    layers = [AffineLayer(inputs, none.double(), is_linear)]
    if hidden == 3:
        layers.append(AffineLayer(torch.eye(3).double(), none.double(), torch.ones(3) > 0))
    padded = torch.cat([pairs, torch.zeros(4, 1).double()], dim=1)
    layers.append(AffineLayer(padded, torch.zeros(4).double()))
    weight = torch.ones(1, 4, dtype=torch.float64)
    layers.append(AffineLayer(weight, torch.tensor([-0.5 * scale], dtype=torch.float64)))
    box = Box.from_bounds((-1, 1), 2, torch.float64, torch.device("cpu"))
    how = {"backend": backend, "pruning": ALWAYS}
    whole, pruned = (
        zero_set(layers, box, subdivide(layers, box, surface_only=only, **how))
        for only in (False, True)
    )
    # At each corner both signs of a coordinate have their fold.
    assert whole.num_vertices == pruned.num_vertices == 2 * 4 + 2


@pytest.mark.parametrize(
    ("num_vertices", "num_kept", "hidden_left", "changes", "pays"),
    [
        (99, 0, 1, True, False),  # too small
        (100, 0, 1, True, True),
        (100, 0, 2, True, False),  # too small for two layers
        (200, 0, 2, False, True),
        (200, 150, 1, True, False),  # has hardly grown
        (100, 0, 1, False, False),  # the last hidden layer cuts nothing
    ],
)
def test_regions_are_left_out_when_that_pays(num_vertices, num_kept, hidden_left, changes, pays):
    edges = torch.arange(num_vertices).repeat(3, 1).T.reshape(-1, 1).repeat(1, 2)
    edges[:, 1] = (edges[:, 1] + 1) % num_vertices
    values = torch.ones(num_vertices, 4)
    values[::2] *= -1 if changes else 1
    pruning = Pruning(min_vertices=100, min_growth=2, min_cuts=11)
    layer = AffineLayer(torch.zeros(4, 1), torch.zeros(4))
    assert pruning.pays(layer, edges, values, num_kept, hidden_left) == pays
    linear = layer._replace(is_linear=torch.ones(4, dtype=torch.bool))  # cuts nothing
    assert pruning.pays(linear, edges, values, num_kept, hidden_left) == (pays and hidden_left > 1)


def regions_of(layers, done):
    """The regions of the first layers, the next layer's values at their corners, and f at points
    inside each."""
    dimension = layers[0].dimension
    box = Box.from_bounds((-2, 2), dimension, torch.float64, torch.device("cpu"))
    skeleton = subdivide(layers[:done], box)
    regions, vertices = find_regions(skeleton), skeleton.vertices
    values = evaluate(layers[: done + 1], vertices)
    insides = []
    for corners in regions.corners.split(regions.offsets.diff().tolist()):
        shares = torch.rand(200, len(corners), dtype=torch.float64).pow(3)
        points = (shares / shares.sum(dim=1, keepdim=True)) @ vertices[corners.long()]
        insides.append(evaluate(layers, torch.cat([points, vertices[corners.long()]]))[:, 0])
    return regions, values, torch.stack([part[:200] for part in insides])


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
