"""Networks that are not in general position: the surface that is right, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import shapeopt
from shapeopt.extraction.no_zero import NoZero
from shapeopt.extraction.progress import Inconsistent
from shapeopt.extraction.tolerances import consistently
from shapeopt.mesh.certificate import certify
from tests.oracle.generators import generate
from tests.oracle.judge import verdicts
from tests.sample_networks import octahedron, random_mlp


def tetrahedron(radius: float, seed: int) -> tuple[nn.Sequential, np.ndarray]:
    """f = max of four planes - radius, by max(p, q) = relu(p - q) + relu(q) - relu(-q); and the
    planes' normals."""
    normals = np.random.default_rng(seed).normal(size=(4, 3))
    normals -= normals.mean(axis=0)
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    a, b, c, d = normals
    one, two = np.array([1, 1, -1, 0, 0, 0.0]), np.array([0, 0, 0, 1, 1, -1.0])
    network = nn.Sequential(
        nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 1)
    ).double()
    weights = ([a - b, b, -b, c - d, d, -d], [one - two, two, -two], [[1, 1, -1.0]])
    for layer, weight in zip(network[::2], weights, strict=True):
        layer.weight.data = torch.tensor(np.array(weight))
        layer.bias.data.zero_()
    network[4].bias.data.fill_(-radius)
    return network, normals


@pytest.mark.parametrize("method", ["subdivide", "trace"])
@pytest.mark.parametrize("seed", range(12))
def test_max_of_planes_is_wound_alike_and_has_the_area_of_its_tetrahedron(seed, method):
    network, normals = tetrahedron(0.01, seed)
    corners = [
        np.linalg.solve(normals[[i for i in range(4) if i != k]], np.full(3, 0.01))
        for k in range(4)
    ]
    size = 1.01 * float(np.abs(corners).max())
    with torch.no_grad(), pytest.warns() if method == "trace" else _nothing():
        surface = shapeopt.extract_surface(network, (-size, size), method=method)
    area = sum(
        np.linalg.norm(np.cross(b - a, c - a)) / 2
        for a, b, c in (np.delete(corners, k, axis=0) for k in range(4))
    )
    certificate = certify(surface)
    assert certificate.is_clean
    assert [part.genus for part in certificate.components] == [0]
    assert float(surface.area()) == pytest.approx(area, rel=1e-9)
    assert surface.to_trimesh().is_winding_consistent
    assert (surface.edge_lengths() > 0).all()


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize("method", ["subdivide", "trace"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_octahedron_has_eight_triangles(method, dtype):
    with torch.no_grad():
        surface = shapeopt.extract_surface(octahedron(0.3), method=method, dtype=dtype)
    assert (surface.num_vertices, surface.num_edges, surface.num_faces) == (6, 12, 8)
    assert certify(surface).is_clean


def test_a_capped_octahedron():
    """Cut off by the box at 0.5: eight hexagons, and six squares of four triangles each."""
    with torch.no_grad():
        surface = shapeopt.extract_surface(octahedron(0.6), cap=True)
    assert certify(surface).is_clean
    assert sorted(surface.face_offsets.diff().tolist()) == [3] * 24 + [6] * 8
    assert float(surface.volume()) == pytest.approx(4 / 3 * 0.6**3 - 6 * 4 / 6 * 0.1**3, rel=1e-9)


def centred(network: nn.Sequential) -> nn.Sequential:
    with torch.no_grad():
        points = torch.rand(999, network[0].in_features, dtype=torch.float64) - 0.5
        network[-1].bias -= network(points).median()
    return network


@pytest.mark.parametrize("method", ["subdivide", "trace"])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("factor", [1e-40, 1e-12, 1e-3, 1e8, 1e40])
def test_a_positive_factor_of_every_layer_changes_nothing(factor, dimension, method):
    network = centred(random_mlp(dimension, 8, 8, 8, 1, seed=1))
    with torch.no_grad():
        expected = shapeopt.extract_surface(network, method=method)
        for number, layer in enumerate([*network][::2], start=1):
            layer.weight *= factor
            layer.bias *= factor**number
        surface = shapeopt.extract_surface(network, method=method)
    assert surface.num_vertices == expected.num_vertices
    assert torch.allclose(surface.vertices, expected.vertices, rtol=0, atol=1e-9)
    if dimension == 3:
        assert torch.allclose(surface.face_normals.norm(dim=1), torch.ones(1, dtype=torch.float64))
        assert float(surface.area()) == pytest.approx(float(expected.area()), rel=1e-9)


@pytest.mark.parametrize("method", ["subdivide", "trace"])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("offset", [5e4, 1e6, 5e6])
def test_far_from_the_origin_the_surface_is_the_same_one_moved(offset, dimension, method):
    network = centred(random_mlp(dimension, 10, 10, 1, seed=2))
    network[0].weight.data = network[0].weight.data.float().double()  # moving then loses no bit
    network[0].bias.data = network[0].bias.data.float().double()
    expected = shapeopt.extract_surface(network, method=method).detach()
    with torch.no_grad():
        network[0].bias -= network[0].weight.sum(dim=1) * offset
    box = (offset - 0.5, offset + 0.5)
    surface = shapeopt.extract_surface(network, box, method=method)
    assert surface.num_vertices == expected.num_vertices
    assert torch.allclose(surface.vertices - offset, expected.vertices, rtol=0, atol=1e-7)
    (surface.vertices - offset).square().sum().backward()
    assert all(torch.isfinite(part.grad).all() for part in network.parameters())


def test_float32_in_a_large_box():
    """A shape of 0.3 in a box of 2,000: its combinatorics is that of float64."""
    torch.manual_seed(0)
    network = shapeopt.sdf_network(16, 2)
    with torch.no_grad():
        near = shapeopt.extract_surface(network, dtype=torch.float64)
        far = shapeopt.extract_surface(network, (-1000, 1000))
    assert far.vertices.dtype == torch.float32
    components = certify(far).components
    inside = min(components, key=lambda part: abs(part.area - float(near.area())))
    assert inside.area == pytest.approx(float(near.area()), rel=1e-4)


def test_a_sheet_thinner_than_the_grid_is_found_by_tracing_too():
    """f = |z| - 1e-7 has two parallel faces of area 1 each."""
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0, 0, 1.0], [0, 0, -1.0]]))
        network[0].bias.copy_(torch.tensor([-0.013, 0.013]))
        network[2].weight.fill_(1)
        network[2].bias.fill_(-1e-7)
        for method in ("subdivide", "trace"):
            surface = shapeopt.extract_surface(network, method=method)
            assert float(surface.area()) == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize("seed", [16, 42])
def test_a_capped_sheet_whose_sides_share_their_border(seed):
    """Its caps are thinner than rounding, and its sides bend between the same two corners."""
    verdict = verdicts(generate("thinner_sheet", seed))["cap"]
    assert verdict.outcome == "right", verdict


def test_more_rounding_never_empties_a_surface():
    def make(ulps):
        raise Inconsistent("open") if ulps < 100 else NoZero(0.0, 1.0)

    with pytest.raises(Inconsistent, match="open"):
        consistently(make)


def test_where_f_is_0_on_a_region_the_surface_is_the_border_of_the_inside():
    """f = 0 for |x| <= 1/8, negative from there to 3/8, and positive beyond."""
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].weight[:, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
        network[0].bias.copy_(torch.tensor([0.125, 0.125, -0.25, -0.25]))
        network[2].weight.copy_(torch.tensor([[-1.0, -1.0, 2.0, 2.0]]))
        network[2].bias.fill_(0.25)
        surface = shapeopt.extract_surface(network)
    assert sorted({round(x, 12) for x in surface.vertices[:, 0].tolist()}) == [
        -0.375,
        -0.125,
        0.125,
        0.375,
    ]
    assert certify(surface).wound_consistently
    assert float(surface.area()) == pytest.approx(4, rel=1e-12)


def test_components_that_the_grid_misses_are_found_by_a_complete_search():
    network = octahedron(1e-3)
    shift = torch.tensor([0.2, 0.11, -0.07], dtype=torch.float64)
    with torch.no_grad():
        network[0].bias -= network[0].weight @ shift
        surface = shapeopt.extract_surface(network, method="trace", complete=True)
    assert surface.num_faces == 8
    assert float(surface.area()) == pytest.approx(4 * math.sqrt(3) * 1e-6, rel=1e-9)
