"""TorchScript is read through its graph."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapeopt
from shapeopt.errors import InputError
from shapeopt.networks.reading import check_reading, read_network
from shapeopt.networks.script_network import ScriptNetwork

BOX = -torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)


class Network(nn.Module):
    """With what a graph can hold: branches, loops, lists, shapes, modules."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(10, 1)
        self.norm, self.dropout, self.leaky = nn.BatchNorm1d(8), nn.Dropout(), nn.LeakyReLU()
        self.pool, self.conv = nn.MaxPool1d(2), nn.Conv1d(1, 2, 3)
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))
        self.is_leaky = True

    def forward(self, x):
        h = self.norm(self.leaky(self.first(x)) if self.is_leaky else self.first(x))
        for i in range(2):
            h = h + F.relu(h - float(i))
        h = self.dropout(h)
        y = self.weighted(self.pool(self.conv(h[:, None])).flatten(1))
        if x.size(1) == 3:
            h = torch.cat([h, torch.clamp(y, -1.0, 2.0)], dim=-1)
        parts = [part.relu() for part in torch.split(h.view(x.shape[0], -1), [5, 6], 1)]
        largest, _ = parts[1].max(dim=1, keepdim=True)
        return self.last(torch.cat([parts[0], torch.max(parts[1][:, 2:], 1 - largest)], 1)[:, 0:10])


def scripted(kind: str) -> tuple[nn.Module, torch.jit.ScriptModule]:
    torch.manual_seed(0)
    network = Network().double().eval()
    network.last.weight.data = torch.randn(1, 9).double()
    with torch.no_grad():
        zero = network(torch.zeros(1, 3, dtype=torch.float64))
        network.last.bias.sub_(zero[0])
    if kind == "traced":
        return network, torch.jit.trace(network, torch.rand(1, 3, dtype=torch.float64))
    network.weighted = nn.Linear(6, 3).double()
    with torch.no_grad():
        network.last.bias.sub_(network(torch.zeros(1, 3, dtype=torch.float64))[0])
    return network, torch.jit.script(network)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_the_graph_is_run_and_read_as_the_module(kind, tmp_path):
    network, script = scripted(kind)
    points = torch.rand(9, 3, dtype=torch.float64) - 0.5
    torch.testing.assert_close(ScriptNetwork(script)(points), network(points))
    check_reading(script, read_network(script, 3), *BOX)

    torch.jit.save(script, tmp_path / "net.pt")
    loaded = shapeopt.load_network(tmp_path / "net.pt")
    corners = [-0.5] * 3, [0.5] * 3
    # A level makes the TorchScript part of another module.
    surface, expected = (
        shapeopt.extract_surface(n, corners, level=1e-3) for n in (loaded, network)
    )
    assert surface.num_faces > 10
    torch.testing.assert_close(surface.vertices, expected.vertices)
    surface.area().backward()
    expected.area().backward()
    torch.testing.assert_close(loaded.first.weight.grad, network.first.weight.grad)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (F.softplus, r"aten::softplus.*softplus is not known to be piecewise affine"),
        (lambda x: x * x, r"aten::mul \(.*test_script_network.py, line \d+\): mul of values"),
        (lambda x: x.to(torch.int64).double(), r"aten::to .*values are made whole numbers"),
    ],
)
def test_a_node_that_is_not_affine_is_named_with_its_line(function, message):
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x):
            return function(self.linear(x.float()))

    script = torch.jit.trace(Wrong(), torch.rand(1, 3))
    with pytest.raises(InputError, match=message):
        read_network(script)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_more_inputs_than_the_points_are_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(InputError, match="takes 2 inputs; script one that takes the points alone"):
        read_network(torch.jit.script(Two()))
