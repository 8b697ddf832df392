"""The surface of an encoded network: tracing against subdivision in simplices and brute force."""

from itertools import combinations, product

import pytest
import torch

import shapeopt
from shapeopt.data.reference import MeshReference
from shapeopt.errors import EmptySurfaceError, ExtractionError, InputError
from shapeopt.extraction.subdivision.simplices import (
    middles_in_simplices,
    simplices_near_zero_set,
)
from shapeopt.mesh.certificate import certify
from shapeopt.networks import EncodedNetwork
from shapeopt.networks.affine import without_graph
from shapeopt.networks.lattice import ORDERS
from shapeopt.networks.reading import affine_layers


def encoded(cells=(2, 4), spread=0.05, seed=0, width=12, depth=2) -> EncodedNetwork:
    torch.manual_seed(seed)
    return EncodedNetwork(cells, 2, width, depth, spread=spread).double()


def corners_by_brute_force(network: EncodedNetwork) -> torch.Tensor:
    """The corners of the zero set of a network with one hidden layer.

    In every simplex and for every pattern of signs: all points where f and two more constraints
    are 0, if the signs hold there and it lies in the simplex.
    """
    encoding = network.encoding
    hidden, _, last = network.mlp
    found = []
    for number in range(encoding.finest**3 * len(ORDERS)):
        corners = encoding.corners_of(torch.tensor([number]))[0]
        weights = torch.linalg.inv(torch.cat([corners, torch.ones(4, 1).double()], dim=1))
        values = hidden(encoding.values_in(torch.tensor([number] * 4), corners))
        neurons = weights @ values  # rows: slopes along x, y, z and the constant
        pairs = torch.tensor(list(combinations(range(4 + values.shape[1]), 2)))
        for signs in product((0.0, 1.0), repeat=values.shape[1]):
            mask = torch.tensor(signs, dtype=torch.float64)
            f = (neurons * mask) @ last.weight[0]
            f[3] += last.bias[0]
            planes = torch.cat([weights.T, neurons.T])
            systems = torch.cat([f.expand(len(pairs), 1, 4), planes[pairs]], dim=1)
            is_regular = torch.linalg.cond(systems[:, :, :3]) < 1e8
            systems, chosen = systems[is_regular], pairs[is_regular]
            points = torch.linalg.solve(systems[:, :, :3], -systems[:, :, 3])
            at = points @ planes[:, :3].T + planes[:, 3]
            at.scatter_(1, chosen, 0)
            side = torch.cat([torch.ones(4).double(), 2 * mask - 1])
            found.append(points[(at * side >= -1e-12).all(dim=1)])
    return torch.cat(found)


def check(surface: shapeopt.PolyhedralSurface) -> None:
    """A manifold that ends only where the box does."""
    proof = certify(surface)
    assert proof.manifold
    assert proof.wound_consistently
    at_border = (surface.edge_faces < 0).any(dim=1)
    ends = surface.vertices[surface.edges[at_border]]
    assert ((ends.abs() > 0.5 - 1e-12).all(dim=1)).any(dim=1).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_corners_are_those_of_brute_force(seed):
    network = encoded((1, 2), 0.3, seed, width=4, depth=1)
    with torch.no_grad():
        network.mlp[-1].bias -= network(torch.rand(999, 3).double() - 0.5).median()
        surface = shapeopt.extract_surface(network, complete=True, all_folds=True)
        expected = corners_by_brute_force(network)
    apart = torch.cdist(surface.vertices, expected, compute_mode="donot_use_mm_for_euclid_dist")
    assert apart.amin(dim=0).max() < 1e-9
    assert apart.amin(dim=1).max() < 1e-9
    assert surface.num_faces > 50


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("seed", range(4))
def test_tracing_finds_the_polygons_of_subdivision(seed, backend):
    network = encoded((2, 4), 0.1, seed)
    layers = without_graph(affine_layers(network))
    middles = middles_in_simplices(layers, 16, compiled=backend == "compiled")
    with torch.no_grad():
        surface = shapeopt.extract_surface(
            network, method="trace", complete=True, all_folds=True, backend=backend
        )
        assert network(middles).abs().max() < 1e-14
        assert network(surface.vertices).abs().max() < 1e-14
    assert surface.num_faces == len(middles)
    mesh = MeshReference(surface.vertices.numpy(), surface.triangles().numpy())
    assert mesh.distance(middles.numpy()).max() < 1e-9
    check(surface)


def test_backends_agree_on_every_vertex():
    network = encoded((3, 6), 0.05, 1)
    with torch.no_grad():
        one, two = (
            shapeopt.extract_surface(network, backend=backend) for backend in ("plain", "compiled")
        )
    assert torch.equal(one.signs.vertex_keys, two.signs.vertex_keys)
    assert torch.allclose(one.vertices, two.vertices, atol=1e-13)


def test_bounds_clear_no_simplex_with_a_zero():
    network = encoded((2, 4), 0.3, 2)
    near = simplices_near_zero_set(without_graph(affine_layers(network)))
    points = torch.rand(200_000, 3, dtype=torch.float64) - 0.5
    at = network.encoding.simplices_at(points)
    values = network(points)[:, 0].detach()
    count = 4**3 * 6
    low = torch.zeros(count).double().scatter_reduce(0, at, values, "amin", include_self=False)
    high = torch.zeros(count).double().scatter_reduce(0, at, values, "amax", include_self=False)
    changes = torch.nonzero((low < 0) & (high > 0)).flatten()
    assert len(changes) > 50
    assert torch.isin(changes, near).all()


def test_gradients_are_central_differences():
    network = encoded((2, 4), 0.02, 3)

    def value() -> torch.Tensor:
        surface = shapeopt.extract_surface(network)
        return surface.area() + 3 * surface.volume()

    value().backward()
    generator = torch.Generator().manual_seed(0)
    for parameters in (network.features, network.mlp.parameters()):
        moved = [(one, torch.randn(one.shape, generator=generator).double()) for one in parameters]
        expected = []
        with torch.no_grad():
            for step in (1e-7, -2e-7, 1e-7):
                for parameter, direction in moved:
                    parameter += step * direction
                expected.append(value())
        difference = (expected[0] - expected[1]) / 2e-7
        along = sum((one.grad * direction).sum() for one, direction in moved)
        assert float(along) == pytest.approx(float(difference), rel=1e-5)


@pytest.mark.parametrize("backend", ["plain", "compiled"])
def test_warm_is_cold(backend):
    network = encoded((2, 4), 0.005, 4)
    warm = shapeopt.Tracing(backend=backend)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            one = shapeopt.extract_surface(network, extractor=warm)
            two = shapeopt.extract_surface(network, method="trace", backend=backend)
            keys, order = one.signs.vertex_keys.sort()
            others, order_of_others = two.signs.vertex_keys.sort()
            assert torch.equal(keys, others)
            assert torch.allclose(
                one.vertices[order], two.vertices[order_of_others], rtol=0, atol=1e-12
            )
            assert one.num_faces == two.num_faces
            for parameter in network.parameters():
                step = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter += 3e-4 * step


def test_in_float32_the_same_combinatorics():
    network = encoded((3, 6), 0.03, 5).float()
    with torch.no_grad():
        one, two = (
            shapeopt.extract_surface(network, dtype=dtype)
            for dtype in (torch.float32, torch.float64)
        )
    assert one.vertices.dtype == torch.float32
    assert torch.equal(one.face_vertices, two.face_vertices)
    assert torch.allclose(one.vertices.double(), two.vertices, atol=1e-6)


def test_a_level_and_given_seeds():
    network = encoded((2, 4), 0.01, 6)
    with torch.no_grad():
        one = shapeopt.extract_surface(network, level=0.02)
        assert (network(one.vertices) - 0.02).abs().max() < 1e-14
        two = shapeopt.extract_surface(network, method="trace", seeds=one.vertices[:3])
        three = shapeopt.extract_surface(network)
    assert certify(two).components[0].polygons == certify(three).components[0].polygons


def test_what_is_refused():
    network = encoded()
    with pytest.raises(InputError, match="by tracing"):
        shapeopt.extract_surface(network, method="subdivide")
    with pytest.raises(InputError, match="by tracing"):
        shapeopt.extract_complex(network)
    with pytest.raises(InputError, match="the box of its lattices"):
        shapeopt.extract_surface(network, (-1, 1))
    with torch.no_grad():
        network.mlp[-1].bias += 10
    for complete in (False, True):
        with pytest.raises(EmptySurfaceError, match="no zero"):
            shapeopt.extract_surface(network, complete=complete, method="trace")
    with torch.no_grad():
        network.features[0][3] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        shapeopt.extract_surface(network)


KINDS = ("no features", "quantised features", "coarse weights", "both", "lattice planes", "copies")


def degenerate(kind: str, seed: int) -> EncodedNetwork:
    """Networks whose folds coincide with each other, with the lattice, or pass its vertices."""
    network = encoded([(1, 2), (2, 4), (3,)][seed % 3], 0.2, seed, width=7)
    first, last = network.mlp[0], network.mlp[-1]
    for part in network.features if kind in ("quantised features", "both") else ():
        part.copy_((part * 8).round() / 8)
    for part in network.features if kind == "no features" else ():
        part.zero_()
    for part in network.mlp.parameters() if kind in ("coarse weights", "both") else ():
        part.copy_((part * 4).round() / 4)
    if kind == "lattice planes":
        first.weight.zero_()
        for i in range(7):
            first.weight[i, i % 3], first.bias[i] = 1.0, (-0.25, 0.0, 0.25, 0.1)[i % 4]
    if kind == "copies":
        first.weight[1], first.bias[1] = first.weight[0], first.bias[0]
        first.weight[2], first.bias[2] = -first.weight[0], -first.bias[0]
    last.bias -= network(torch.rand(999, 3).double() - 0.5).median()
    if kind == "both":
        last.bias.copy_((last.bias * 8).round() / 8)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_in_general_position_is_right_or_an_error(kind):
    heights = torch.linspace(-0.5, 0.5, 6001, dtype=torch.float64)
    right = 0
    for seed in range(9):
        with torch.no_grad():
            network = degenerate(kind, seed)
            try:
                surface = shapeopt.extract_surface(network)
            except (EmptySurfaceError, ExtractionError):
                continue
            check(surface)
            assert network(surface.vertices).abs().max() < 1e-12
            for place in torch.rand(8, 2, dtype=torch.float64) - 0.5:
                line = torch.cat([place.expand(6001, 2), heights[:, None]], dim=1)
                changes = (network(line)[:, 0] < 0).diff().sum()
                assert _crossings(surface, place) == int(changes)
        right += 1
    assert right >= 6


def _crossings(surface: shapeopt.PolyhedralSurface, place: torch.Tensor) -> int:
    """How many triangles a vertical line goes through."""
    corners = surface.vertices[surface.triangles()][:, :, :2] - place
    following = corners.roll(-1, dims=1)
    turn = corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]
    return int(((turn > 0).all(dim=1) | (turn < 0).all(dim=1)).sum())


@pytest.mark.parametrize("with_graph", [False, True])
def test_no_vertex_is_off_the_box_by_rounding(with_graph):
    num_there = 0
    for seed in range(4):
        network = encoded((3, 6), seed=seed)
        with torch.no_grad():
            points = torch.rand(500, 3, dtype=torch.float64) - 0.5
            network.mlp[-1].bias -= network(points).median()
        with torch.set_grad_enabled(with_graph):
            surface = shapeopt.extract_surface(network)
        beyond = surface.vertices.detach().abs() - 0.5
        assert beyond.max() == 0
        assert not ((beyond != 0) & (beyond > -1e-12)).any()
        num_there += int((beyond == 0).sum())
    assert num_there > 100
