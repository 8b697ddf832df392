import copy
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapeopt.errors import InputError
from shapeopt.networks.affine import evaluate
from shapeopt.networks.reading import check_reading, read_network
from shapeopt.networks.views import LevelSet

BOX = -torch.ones(3), torch.ones(3)


class Function(nn.Module):
    """A network around a function of what a linear map gives."""

    def __init__(self, function, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(3, width), nn.LazyLinear(1)
        self.prelu, self.norm = nn.PReLU(width), nn.BatchNorm1d(width)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self, self.first(x), x))


UNITS = {
    "relu": lambda m, z, x: F.relu(z),
    "relu in place": lambda m, z, x: F.relu(z, inplace=True) + z,
    "method": lambda m, z, x: z.relu(),
    "leaky": lambda m, z, x: F.leaky_relu(z, 0.2),
    "prelu": lambda m, z, x: m.prelu(z),
    "relu6": lambda m, z, x: F.relu6(9 * z),
    "hardtanh": lambda m, z, x: F.hardtanh(z, -0.5, 0.25),
    "hardsigmoid": lambda m, z, x: F.hardsigmoid(4 * z),
    "softshrink": lambda m, z, x: F.softshrink(z, 0.3),
    "abs": lambda m, z, x: z.abs() - torch.abs(z + 1),
    "clamp": lambda m, z, x: z.clamp(-0.3, 0.4) + z.clamp(min=0.1) + torch.clamp(z, max=0.2),
    "maximum": lambda m, z, x: torch.maximum(z, z.flip(1)) - torch.minimum(z, z.roll(1, 1)),
    "max with a number": lambda m, z, x: torch.max(z, torch.tensor(0.1, dtype=z.dtype)),
    "amax": lambda m, z, x: torch.amax(z, dim=1, keepdim=True),
    "amin": lambda m, z, x: z.view(-1, 2, 4).amin(dim=(1, 2))[:, None],
    "max along": lambda m, z, x: z.max(dim=1, keepdim=True)[0] + z.min(1, True).values,
    "odd max": lambda m, z, x: z[:, :7].amax(1, keepdim=True),
    "max pool": lambda m, z, x: F.max_pool1d(z[:, None], 3, stride=2, padding=1).squeeze(1),
    "max pool in 2D": lambda m, z, x: F.max_pool2d(z.view(-1, 1, 2, 4), (2, 3), 1).flatten(1),
    "average pool": lambda m, z, x: F.avg_pool1d(F.relu(z)[:, None], 2).squeeze(1),
    "batch norm": lambda m, z, x: F.relu(m.norm(z)),
    "dropout": lambda m, z, x: F.dropout(F.relu(z), training=m.training),
    "residual": lambda m, z, x: z + F.relu(z @ z.new_ones(8, 8)),
    "skip": lambda m, z, x: torch.cat([F.relu(z), x], dim=-1),
    "latent code": lambda m, z, x: torch.cat([z, m.prelu.weight.new_ones(len(x), 2)], 1).relu(),
    "slices": lambda m, z, x: F.relu(z[:, 1::2] - z[..., ::2]).sum(dim=1, keepdim=True) / 3,
    "chunks": lambda m, z, x: torch.stack([p.relu() for p in z.chunk(2, dim=1)], 2).flatten(1),
    "convolution": lambda m, z, x: F.conv1d(z.relu()[:, None], z.new_ones(2, 1, 3)).flatten(1),
    "in place": lambda m, z, x: z.add_(x.sum(1, keepdim=True)).relu_() - z / 2,
    "sums": lambda m, z, x: torch.add(z, z.relu(), alpha=0.3) - torch.rsub(z.abs(), 1) + (2 - z),
    "numbers by name": lambda m, z, x: torch.add(z, other=0.3).relu() + z.sub(other=2, alpha=3),
    "a factor before": lambda m, z, x: torch.add(z, 2, z.relu()),
    "linear by name": lambda m, z, x: F.linear(
        input=z.relu(), weight=z.new_ones(5, 8), bias=z.new_ones(5)
    ),
    "padding": lambda m, z, x: F.pad(z.relu(), (1, 2), value=0.7),
    "quotients": lambda m, z, x: (z / torch.arange(1, 9)).relu() @ z.new_ones(8, 2),
    "broadcast": lambda m, z, x: F.relu(z[:, :, None] * x.new_ones(2) - 0.1).mean(dim=2),
    "where code decides": lambda m, z, x: F.relu(z) if z.shape[1] == 8 and z.dim() == 2 else z,
}


@pytest.mark.parametrize("name", UNITS)
def test_each_unit_is_read_as_it_runs(name):
    torch.manual_seed(0)
    network = Function(UNITS[name]).double()
    network(torch.zeros(2, 3, dtype=torch.float64))
    network.eval()
    network.norm.running_mean.normal_()
    network.norm.running_var.uniform_(0.5, 2)
    network.norm.weight.data.normal_()
    reading = read_network(network)
    check_reading(network, reading, *BOX)

    points = 4 * torch.rand(200, 3, dtype=torch.float64) - 2
    run, read = network(points), evaluate(reading.layers, points)
    torch.testing.assert_close(read, run.view(200, 1))
    parameters = [p for p in network.parameters() if p.requires_grad]
    weights = torch.randn(200, 1, dtype=torch.float64)
    expected = torch.autograd.grad(
        (run.view(200, 1) * weights).sum(), parameters, allow_unused=True
    )
    found = torch.autograd.grad((read * weights).sum(), parameters, allow_unused=True)
    for one, two in zip(expected, found, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if two is None else two, zero if one is None else one, check_dtype=False
        )


def test_a_skip_costs_few_linear_neurons():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 16), nn.Linear(16, 16), nn.Linear(19, 16)])
            self.last = nn.Linear(16, 1)

        def forward(self, x):
            z = self.layers[1](self.layers[0](x).relu()).relu()
            return self.last(self.layers[2](torch.cat([z, x], 1)).relu())

    layers = read_network(Skip()).layers
    assert [len(layer.bias) for layer in layers] == [19, 19, 16, 1]
    assert [
        None if layer.is_linear is None else int(layer.is_linear.sum()) for layer in layers
    ] == [
        3,
        3,
        None,
        None,
    ]


def test_numbers_that_are_passed_on_alone_and_in_a_sum_count_once():
    """f is of the inputs, the first layer and the third; and the third of the first, by so many
    rows that the first is passed on as it is, besides in f's sum of it and the inputs."""

    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 2), nn.Linear(2, 4)
            self.third, self.last = nn.Linear(6, 8), nn.Linear(13, 1)

        def forward(self, x):
            one = self.first(x).relu()
            three = self.third(torch.cat([self.second(one).relu(), one], dim=1)).relu()
            return self.last(torch.cat([three, one, x], dim=1))

    torch.manual_seed(0)
    network = Skips()
    reading = read_network(network)
    assert [len(layer.bias) for layer in reading.layers] == [2 + 1, 4 + 2 + 1, 8 + 1, 1]
    check_reading(network, reading, *BOX)


def test_a_module_that_is_used_twice_runs_twice():
    same, relu = nn.Linear(4, 4), nn.ReLU()
    network = nn.Sequential(nn.Linear(3, 4), relu, same, relu, same, relu, nn.Linear(4, 1))
    reading = read_network(network)
    assert reading.is_plain
    assert len(reading.layers) == 4
    check_reading(network, reading, *BOX)


def test_plain_networks_are_read_without_linear_neurons():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 5), nn.ReLU()))
    network.append(nn.Linear(5, 2)).append(nn.Identity()).append(nn.Linear(2, 1))
    layers = read_network(network).layers
    assert [layer.is_linear for layer in layers] == [None] * 3
    assert layers[0].weight is network[0].weight

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x)

    for one, two in zip(layers, read_network(Same()).layers, strict=True):
        torch.testing.assert_close(one.weight.double(), two.weight)
        assert two.is_linear is None


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_taken_off(wrap):
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    layers = read_network(wrap(network)).layers
    assert layers[0].weight is network[0].weight


@pytest.mark.parametrize(("last", "level"), [(nn.Sigmoid(), 0.3), (nn.Tanh(), -0.2)])
def test_the_level_goes_through_a_last_activation(last, level):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    view = LevelSet(nn.Sequential(*inner, last), 1, level)
    reading = read_network(view)
    check_reading(view, reading, *BOX)
    points = torch.randn(50, 3, dtype=torch.float64)
    inside = math.atanh(level) if isinstance(last, nn.Tanh) else math.log(level / (1 - level))
    torch.testing.assert_close(evaluate(reading.layers, points), inner(points)[:, 1:] - inside)


def test_a_level_that_is_never_reached_is_refused():
    network = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    with pytest.raises(InputError, match="between 0 and 1: it is never 0"):
        read_network(network)


def test_a_last_tanh_is_left_out():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    network = nn.Sequential(*copy.deepcopy(inner), nn.Tanh())
    reading = read_network(network)
    check_reading(network, reading, *BOX)
    for one, two in zip(reading.layers, read_network(inner).layers, strict=True):
        assert torch.equal(one.weight, two.weight)


def test_levels_go_through_what_the_network_ends_with():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))

    class Ending(nn.Module):
        def __init__(self, end):
            super().__init__()
            self.inner, self.end = inner, end

        def forward(self, x):
            return self.end(self.inner(x))

    for end, level in (
        (lambda f: f.sigmoid() - 0.6, math.log(0.6 / 0.4)),
        (lambda f: torch.tanh(torch.tanh(f) + 0.25), math.atanh(-0.25)),
    ):
        reading = read_network(network := Ending(end))
        check_reading(network, reading, *BOX)
        expected = inner[2].bias.double() - level
        torch.testing.assert_close(reading.layers[-1].bias, expected)
    with pytest.raises(InputError, match=r"ends with sigmoid.*it is never 0"):
        read_network(Ending(torch.sigmoid))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, z, x: z * z, "mul of values that both depend"),
        (lambda m, z, x: 1 / z, "rdiv"),
        (lambda m, z, x: z if z.sum() > 0 else -z, "not known to be piecewise affine"),
        (lambda m, z, x: F.normalize(z), "not known to be piecewise affine|depend"),
        (lambda m, z, x: z.detach().numpy(), "numpy"),
        (lambda m, z, x: z**2, "pow"),
        (lambda m, z, x: z.sigmoid() * 2, "follows sigmoid"),
        (lambda m, z, x: F.dropout(z), "dropout is active"),
        (lambda m, z, x: (z, z), "tuple"),
    ],
)
def test_what_is_not_piecewise_affine_is_named(function, message):
    network = Function(function)
    network.last = nn.Identity()
    with pytest.raises(InputError, match=message):
        read_network(network)


def test_what_is_no_network_is_named():
    """In a process without the tests' checks of types, as a user has it."""
    code = "import shapeopt\nshapeopt.extract_surface('model.pt')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InputError: the network is 'model.pt'; give an nn.Module" in done.stderr


def test_what_depends_on_the_values_is_noticed():
    class Rounded(nn.Linear):
        def forward(self, x):
            return super().forward(x) + (0.5 if type(x) is torch.Tensor else 0.0)

    network = Rounded(3, 1)
    with pytest.raises(InputError, match="differ by up to"):
        check_reading(network, read_network(network), *BOX)


def test_a_plain_network_runs_once_in_each_form(monkeypatch):
    runs, forward = [], nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda m, x: (runs.append(m), forward(m, x))[1])
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    for _ in range(2):
        check_reading(network, read_network(network), *BOX)
    assert runs == [network[0], network[2]]
    network[2].weight.data.mul_(2)
    check_reading(network, read_network(network), *BOX)
    assert len(runs) == 2
    network.double()
    check_reading(network, read_network(network), *BOX)
    assert len(runs) == 4
    network[0] = nn.Linear(3, 5, dtype=torch.float64)
    with pytest.raises(InputError, match="cannot be run"):
        check_reading(network, read_network(network), *BOX)


def hooked_before(layer: nn.Linear) -> None:
    layer.register_forward_pre_hook(lambda _, inputs: inputs[0] + 1)


def hooked_after(layer: nn.Linear) -> None:
    layer.register_forward_hook(lambda _, __, out: out + 1)


def patched(layer: nn.Linear) -> None:
    layer.forward = lambda x: F.linear(x, layer.weight, layer.bias + 1)


def made_anew(layer: nn.Linear) -> None:
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    nn.utils.parametrize.register_parametrization(layer, "weight", Twice())


@pytest.mark.parametrize("change", [hooked_before, hooked_after, patched, made_anew])
def test_what_is_special_about_a_layer_counts(change):
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    points = torch.rand(8, 3, dtype=torch.float64)
    plain, values = read_network(network), network(points)
    change(network[0])
    special = read_network(network)
    check_reading(network, special, *BOX)
    assert plain.is_plain
    assert not special.is_plain
    assert not torch.allclose(evaluate(special.layers, points), values)


def test_a_hook_of_all_modules_counts():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    plain = read_network(network)
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, _, out: out + 1 if module is network else out
    )
    try:
        hooked = read_network(network)
        check_reading(network, hooked, *BOX)
    finally:
        hook.remove()
    assert plain.is_plain
    assert not hooked.is_plain
    torch.testing.assert_close(hooked.layers[-1].bias, plain.layers[-1].bias.double() + 1)
