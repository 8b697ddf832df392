"""Smooth networks made piecewise affine: what is promised of values and surfaces."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapeopt
from shapeopt.conversion.piecewise import PiecewiseLinear, fit_pieces
from shapeopt.conversion.smooth import exchanged
from shapeopt.errors import InputError
from shapeopt.networks.activations import Sine

ACTIVATIONS = {
    "softplus": nn.Softplus(beta=20),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "elu": nn.ELU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "sine": Sine(3.0),
}


def smooth_network(activation: nn.Module, last: nn.Module | None = None) -> nn.Sequential:
    """Two hidden layers; half of the box is inside."""
    torch.manual_seed(0)
    layers = [nn.Linear(3, 8), activation, nn.Linear(8, 8), activation, nn.Linear(8, 1)]
    network = nn.Sequential(*layers).double()
    with torch.no_grad():
        network[0].weight.mul_(3)
        points = torch.rand(3000, 3, dtype=torch.float64) - 0.5
        network[-1].bias.sub_(network(points).median())
    return network if last is None else nn.Sequential(*network, last)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_within_the_tolerance_at_other_points(name):
    network = smooth_network(ACTIVATIONS[name])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    conversion = shapeopt.convert(network, tolerance=1e-2, samples=2**11)
    assert conversion.largest_difference <= 1e-2
    points = torch.rand(4000, 3, dtype=torch.float64) - 0.5
    assert (network(points) - conversion.network(points)).abs().max() < 1.3e-2
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in before)
    assert network[1] is ACTIVATIONS[name]
    finer = shapeopt.convert(network, tolerance=2e-3, samples=2**11)
    assert finer.largest_difference <= 2e-3
    assert finer.relus[0] > conversion.relus[0]


def test_the_surface_moves_by_as_much_and_gradients_reach_the_weights():
    network = smooth_network(nn.Softplus(beta=20))
    conversion = shapeopt.convert(network, tolerance=1e-2, samples=2**11)
    surface = shapeopt.extract_surface(conversion.network)
    measured = shapeopt.displacement(network, surface, samples=500)
    vertices = surface.vertices.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(network(vertices).sum(), vertices)
    at_most = 1e-2 / gradients.norm(dim=1).min().item()
    # Where the surface ends at the box, the nearest point may lie beyond it: the mean tells.
    assert 1e-4 * at_most < measured["distance"] < at_most
    surface.area().backward()
    assert all(p.grad is not None for p in conversion.network.parameters())


def test_the_distance_is_that_of_a_sphere_to_an_octahedron():
    """And twice as large at twice the size."""

    class Ball(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(scale))

        def forward(self, x):
            return ((x / self.scale) ** 2).sum(dim=1, keepdim=True) - 0.04

    octahedron = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    with torch.no_grad():
        octahedron[0].weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)]))
        octahedron[0].bias.zero_()
        octahedron[2].weight.fill_(1)
        octahedron[2].bias.fill_(-0.2)
    surface = shapeopt.extract_surface(octahedron)
    one = shapeopt.displacement(Ball(1.0), surface, samples=500)
    assert one["hausdorff"] == pytest.approx(0.2 - 0.2 / 3**0.5, rel=0.02)
    with torch.no_grad():
        octahedron[2].bias.fill_(-0.4)
    larger = shapeopt.extract_surface(octahedron, (-1, 1))
    twice = shapeopt.displacement(Ball(2.0), larger, (-1, 1), samples=500)
    assert twice["hausdorff"] == pytest.approx(2 * one["hausdorff"], rel=1e-3)


def test_fine_tuning_comes_nearer_than_a_swap_alone():
    network = smooth_network(nn.Softplus(beta=10)).float()
    swapped = exchanged(network, {network[1]: nn.ReLU()})
    points = torch.rand(4000, 3) - 0.5
    conversion = shapeopt.convert(network, seconds=1.0)
    assert isinstance(conversion.network[3], nn.ReLU)
    errors = [(n(points) - network(points)).abs().mean() for n in (swapped, conversion.network)]
    assert errors[1] < errors[0]


def test_a_last_tanh_stays():
    network = smooth_network(nn.Softplus(beta=20), last=nn.Tanh())
    conversion = shapeopt.convert(network, tolerance=1e-2, samples=2**11)
    assert isinstance(conversion.network[-1], nn.Tanh)
    assert len(conversion.relus) == 1
    assert shapeopt.extract_surface(conversion.network).num_faces > 0


def test_activations_of_an_onnx_graph_are_replaced(tmp_path):
    onnx = pytest.importorskip("onnx")
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> graph (float[1,3] x) => (float[1,1] y) '
        "<float[3,1] w = {3, -1, 2}, float[1] half = {0.5}> "
        "{ a = MatMul(x, w)  b = Softplus(a)  c = Sub(b, half)  y = Tanh(c) }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "net.onnx")
    network = shapeopt.load_network(tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"softplus .*shapeopt\.convert replaces"):
        shapeopt.extract_surface(network)
    conversion = shapeopt.convert(network, samples=2**10)
    assert len(conversion.relus) == 1
    assert shapeopt.extract_surface(conversion.network).num_faces == 1


def test_pieces_are_near_and_few():
    seen = torch.linspace(-2, 2, 1001, dtype=torch.float64)
    pieces = fit_pieces(torch.square, seen, 1e-3)
    points = torch.linspace(-2, 2, 10_001, dtype=torch.float64)
    assert (pieces(points) - points**2).abs().max() < 2.2e-3
    # A chord of length h is h^2 / 4 above the parabola.
    assert len(pieces.folds) == pytest.approx(4 / (4 * 2e-3) ** 0.5, abs=1.1)
    with pytest.raises(InputError, match="more than 200 pieces between -2 and 2"):
        fit_pieces(torch.square, seen, 1e-8)


def test_pieces_go_through_their_knots():
    pieces = PiecewiseLinear(torch.tensor([0.0, 1, 2]), torch.tensor([1.0, 1, 4]))
    assert pieces(torch.tensor([-5.0, 0, 1, 1.5, 2, 3])).tolist() == [1, 1, 1, 2.5, 4, 7]
    assert pieces.folds.tolist() == [1]


class Mine(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Called(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)

    def forward(self, x):
        return self.last(F.softplus(self.second(self.first(x))))


def test_what_cannot_be_replaced_is_said():
    mine = nn.Sequential(nn.Linear(3, 5), Mine(), nn.Linear(5, 1))
    with pytest.raises(InputError, match="holds no smooth activation that is a module"):
        shapeopt.convert(mine)
    assert shapeopt.convert(mine, also=(Mine,)).largest_difference <= 1e-3
    with pytest.raises(InputError, match=r"softplus .*make each an nn\.Module"):
        shapeopt.convert(Called())
    with pytest.raises(InputError, match=r"float16; call \.float\(\)"):
        shapeopt.convert(mine.half())
