"""What the two public calls promise, and what they refuse."""

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import EmptySurfaceError, InputError
from tests.sample_networks import octahedron, random_mlp, tilted_octahedron


def euler(num_cells: tuple[int, ...]) -> int:
    return sum((-1) ** k * count for k, count in enumerate(num_cells))


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_box_has_euler_characteristic_one(dimension, seed):
    network = random_mlp(dimension, 7, 5, 1, seed=seed)
    with torch.no_grad():
        whole = shapeopt.extract_complex(network, bounds=(-2, 2))
    assert euler(whole.num_cells) == 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cap", [False, True])
def test_the_surface_of_random_networks_is_a_mesh(seed, cap):
    network = random_mlp(3, 16, 16, 1, seed=seed)
    with torch.no_grad():
        middle = network(torch.rand(1000, 3, dtype=torch.float64) * 4 - 2).median()
        network[-1].bias -= middle
        surface = shapeopt.extract_surface(network, bounds=(-2, 2), cap=cap)
        outside = (surface.edge_faces < 0).any(dim=1)
        at_box = (surface.vertices.abs() > 2 - 1e-9).any(dim=1)
        mesh = surface.to_trimesh()
    assert at_box[surface.edges[outside]].all()
    assert mesh.is_winding_consistent
    assert surface.is_closed == (not outside.any())
    if cap:
        assert surface.is_closed
        assert mesh.is_watertight
        assert float(surface.volume()) == pytest.approx(mesh.volume, rel=1e-9)
        inside = 64 * (network(torch.rand(200_000, 3, dtype=torch.float64) * 4 - 2) < 0)
        assert float(surface.volume()) == pytest.approx(float(inside.double().mean()), rel=0.05)
    else:
        assert network(surface.vertices).abs().max() < 1e-12
        assert float(surface.area()) == pytest.approx(mesh.area, rel=1e-9)
        assert (surface.face_areas() > -1e-15).all()


def test_normals_point_to_positive_f():
    surface = shapeopt.extract_surface(tilted_octahedron()).detach()
    assert surface.euler_characteristic == 2
    first_corner = surface.vertices[surface.face_vertices[surface.face_offsets[:-1]]]
    assert ((first_corner * surface.face_normals).sum(dim=1) > 0).all()


def test_octahedron_is_exact():
    """Axis-aligned folds in pairs: not generic. Slivers of no area may remain, nothing else."""
    radius = 0.3
    surface = shapeopt.extract_surface(octahedron(radius)).detach()
    assert surface.is_closed
    assert surface.euler_characteristic == 2
    assert float(surface.area()) == pytest.approx(4 * 3**0.5 * radius**2, rel=1e-12)
    assert float(surface.volume()) == pytest.approx(4 / 3 * radius**3, rel=1e-12)
    assert int((surface.face_areas() > 1e-12).sum()) == 8


def test_sign_vectors_name_the_active_constraints():
    network = random_mlp(2, 6, 1)
    with torch.no_grad():
        whole = shapeopt.extract_complex(network, bounds=(-3, 3))
        signs = whole.vertex_sign_vectors()
        hidden = network[0](whole.vertices)
    assert ((signs == 0).sum(dim=1) == 2).all()
    assert (signs[:, 7:] >= 0).all()
    clear = hidden.abs() > 1e-9
    assert torch.equal(signs[:, :6][clear], hidden.sign().to(torch.int8)[clear])
    assert (hidden.abs()[signs[:, :6] == 0] < 1e-12).all()


def test_box_may_differ_by_axis():
    network = random_mlp(3, 8, 1)
    with torch.no_grad():
        whole = shapeopt.extract_complex(network, bounds=([-1, -2, -3], [1, 2, 3]))
    assert whole.vertices.amax(dim=0).tolist() == [1, 2, 3]
    assert whole.vertices.amin(dim=0).tolist() == [-1, -2, -3]


class WithCode(nn.Module):
    """An octahedron whose first layer takes a code beside the point."""

    def __init__(self):
        super().__init__()
        first, *rest = octahedron()
        wider = nn.Linear(5, 6, dtype=torch.float64)
        wider.weight.data = torch.cat([first.weight.data, first.weight.new_ones(6, 2)], dim=1)
        wider.bias.data = first.bias.data
        self.network = nn.Sequential(wider, *rest)
        self.code = nn.Parameter(first.weight.new_tensor([0.25, -0.25]))

    def forward(self, x):
        return self.network(torch.cat([x, self.code.expand(len(x), 2)], dim=1))


def test_bounds_tell_the_number_of_inputs():
    surface = shapeopt.extract_surface(WithCode(), ([-1] * 3, [1] * 3))
    assert surface.num_faces == 8
    with pytest.raises(InputError, match=r"run on 5 numbers.*give bounds with two corners"):
        shapeopt.extract_surface(WithCode(), (-1, 1))


def test_same_result_twice():
    network = random_mlp(3, 16, 16, 1)
    one, two = (shapeopt.extract_surface(network, bounds=(-2, 2)) for _ in range(2))
    assert torch.equal(one.vertices, two.vertices)
    assert torch.equal(one.face_vertices, two.face_vertices)


def test_no_graph_without_grad():
    with torch.no_grad():
        surface = shapeopt.extract_surface(tilted_octahedron())
    assert not surface.vertices.requires_grad
    assert shapeopt.extract_surface(tilted_octahedron()).vertices.requires_grad


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (random_mlp(1, 4, 1), "1 inputs"),
        (random_mlp(4, 4, 1), "4 inputs"),
        (random_mlp(3, 4, 2), "2 outputs"),
        (nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 1)), "sigmoid"),
    ],
)
def test_bad_networks(network, message):
    with pytest.raises(InputError, match=message):
        shapeopt.extract_surface(network)


@pytest.mark.parametrize(
    "bounds", [(1, -1), (0, 0), (0, float("inf")), ([0, 0], [1, 1]), (float("nan"), 1)]
)
def test_bad_bounds(bounds):
    with pytest.raises(InputError, match="bounds"):
        shapeopt.extract_surface(random_mlp(3, 4, 1), bounds=bounds)


def test_nan_weights():
    network = random_mlp(3, 4, 1)
    network[0].weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        shapeopt.extract_surface(network)


def test_no_surface_gives_the_range_of_f():
    network = octahedron(radius=-0.1)  # f = |x|_1 + 0.1, from 0.1 to 1.6
    with pytest.raises(EmptySurfaceError, match=r"ranges from 0\.1 to 1\.6.*outside"):
        shapeopt.extract_surface(network)


def test_f_that_only_touches_zero_has_no_inside():
    """A last ReLU keeps f at 0 and above: no shift of the bias before it helps."""
    network = nn.Sequential(*octahedron(radius=0.25), nn.ReLU())
    with pytest.raises(EmptySurfaceError, match=r"ranges from 0 to 1\.25.*nothing is inside.*ReLU"):
        shapeopt.extract_surface(network)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 8}, "Subdivision.*seeds"),
        ({"method": "trace", "cap": True}, "Tracing.*cap"),
        ({"extractor": shapeopt.Tracing(), "seeds": 8}, "seeds: give settings to the extractor"),
        ({"extractor": shapeopt.Tracing(), "method": "trace"}, "method: give settings"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"method": "trace", "seeds": 0}, "seeds is 0"),
        ({"method": "trace", "search_every": -1}, "search_every is -1"),
    ],
)
def test_settings_that_do_not_apply_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        shapeopt.extract_surface(tilted_octahedron(), **settings)


def test_tracing_is_not_compiled_in_the_plane():
    with pytest.raises(InputError, match=r"compiled.*dimension"):
        shapeopt.extract_surface(random_mlp(2, 4, 1), method="trace", backend="compiled")


def test_method_names_an_extractor():
    network = tilted_octahedron()
    with torch.no_grad():
        named = shapeopt.extract_surface(network, method="trace", seeds=16)
        given = shapeopt.extract_surface(network, extractor=shapeopt.Tracing(seeds=16))
    assert torch.equal(named.vertices, given.vertices)


def test_cap_is_for_three_dimensions():
    with pytest.raises(InputError, match="cap"):
        shapeopt.extract_surface(random_mlp(2, 4, 1), cap=True)
