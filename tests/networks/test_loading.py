"""Networks from weights by name, and what is refused."""

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import load_network
from shapeopt.errors import InputError
from tests.sample_networks import TRAINED, random_mlp
from tests.sample_networks import load_network as by_hand

POINTS = torch.rand(7, 3)


def test_the_weights_of_a_trained_network_give_it():
    path = next(iter(sorted(TRAINED.glob("*.npz"))))
    expected = by_hand(path)
    points = torch.rand(9, expected[0].in_features).to(expected[0].weight)
    assert torch.equal(load_network(path)(points), expected(points))


@pytest.mark.parametrize(
    "name", ["{}.weight", "module.layers.{}.weight", "net.{}.linear.weight", "W{}", "weight_{}"]
)
def test_names_of_all_kinds_are_understood(name, tmp_path):
    """Twelve layers, in a dict whose order is another."""
    network = random_mlp(3, *[5] * 11, 1, dtype=torch.float32)
    state = {}
    for index, layer in enumerate(network[::2]):
        weight = name.format(index)
        state[weight] = layer.weight
        state[weight.replace("weight", "bias").replace("W", "b")] = layer.bias
    torch.save(dict(sorted(state.items())), tmp_path / "net.pth")
    torch.testing.assert_close(load_network(tmp_path / "net.pth")(POINTS), network(POINTS))
    assert isinstance(load_network(tmp_path / "net.pth"), nn.Sequential)


@pytest.mark.parametrize("wrapped", [None, "model_state_dict"])
def test_a_state_dict_may_lie_in_a_checkpoint(wrapped, tmp_path):
    network = random_mlp(3, 6, 6, 1, dtype=torch.float32)
    state = network.state_dict()
    torch.save({wrapped: state, "epoch": 3} if wrapped else state, tmp_path / "net.pt")
    torch.testing.assert_close(load_network(tmp_path / "net.pt")(POINTS), network(POINTS))


def test_matrices_the_other_way_round(tmp_path):
    network = random_mlp(3, 6, 6, 1, dtype=torch.float32)
    arrays = {}
    for index, layer in enumerate(network[::2]):
        arrays |= {f"W{index}": layer.weight.detach().T, f"b{index}": layer.bias.detach()}
    np.savez(tmp_path / "net.npz", **arrays)
    torch.testing.assert_close(load_network(tmp_path / "net.npz")(POINTS), network(POINTS))


def test_safetensors(tmp_path):
    files = pytest.importorskip("safetensors.torch")
    network = random_mlp(3, 6, 6, 1, dtype=torch.float32)
    files.save_file(network.state_dict(), tmp_path / "net.safetensors")
    torch.testing.assert_close(load_network(tmp_path / "net.safetensors")(POINTS), network(POINTS))


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    for name, suffix, message in (
        ("onnx", ".onnx", r"pip install 'shapeopt\[onnx\]'"),
        ("safetensors.torch", ".safetensors", "pip install safetensors"),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        (tmp_path / f"net{suffix}").write_bytes(b"")
        with pytest.raises(InputError, match=message):
            load_network(tmp_path / f"net{suffix}")


class Decoder(nn.Module):
    """As in DeepSDF's code, or IGR's: one skip, layers that are called lin0, lin1, ..."""

    def __init__(self, is_igr: bool, beta: float | None):
        super().__init__()
        sizes, skip = [7, 10, 10 - 7 + 2, 10, 1], 2
        for index in range(4):
            inputs = sizes[index] + (7 if index == skip else 0)
            layer = nn.Linear(inputs, sizes[index + 1])
            self.add_module(
                f"lin{index}", layer if index == 3 else nn.utils.weight_norm(layer, dim=0)
            )
        self.is_igr, self.skip = is_igr, skip
        self.activation = nn.ReLU() if beta is None else nn.Softplus(beta)

    def forward(self, x):
        h = x
        for index in range(4):
            if index == self.skip:
                h = torch.cat([h, x], 1) / (math.sqrt(2) if self.is_igr else 1)
            h = getattr(self, f"lin{index}")(h)
            h = self.activation(h) if index < 3 else h
        return h if self.is_igr else torch.tanh(h)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*weight_norm.*")
@pytest.mark.parametrize(("name", "beta"), [("deepsdf", None), ("igr", None), ("igr", 100.0)])
def test_named_architectures_with_a_latent_code(name, beta, tmp_path):
    torch.manual_seed(0)
    decoder, code = Decoder(name == "igr", beta), torch.randn(4)
    torch.save({"epoch": 1, "model_state_dict": decoder.state_dict()}, tmp_path / "net.pth")
    loaded = load_network(
        tmp_path / "net.pth", architecture=name, beta=beta, inputs={"latent": code}
    )
    expected = decoder(torch.cat([code.expand(7, -1), POINTS], dim=1))
    torch.testing.assert_close(loaded(POINTS), expected)
    with pytest.raises(InputError, match=r"is it a skip\? Then give architecture='deepsdf'"):
        load_network(tmp_path / "net.pth")
    if beta is None:
        level = loaded(torch.zeros(1, 3)).item()
        loaded.layers[-1].bias.data.sub_(level if name == "igr" else math.atanh(level))
        assert shapeopt.extract_surface(loaded).num_faces > 0


class Danger:
    def __reduce__(self):
        return print, ("this must not run",)


def test_no_code_in_a_file_is_run(tmp_path, capsys):
    torch.save({"weights": Danger()}, tmp_path / "net.pt")
    np.savez(tmp_path / "net.npz", W0=np.array([Danger()], dtype=object))
    for name in ("net.pt", "net.npz"):
        with pytest.raises(InputError, match="holds Python objects, which are not loaded"):
            load_network(tmp_path / name)
    assert "must not" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "settings", "message"),
    [
        ({"0.weight": (4, 3), "0.bias": (5,)}, {}, r"layer 0 has weight \[4, 3\], bias 5"),
        ({"0.weight": (4, 3), "1.weight": (1, 5)}, {}, "layer 1 takes 5 .* before gives 4$"),
        ({"bn.running_mean": (4,)}, {}, "'bn.running_mean' is no weight or bias of a linear"),
        ({"0.weight": (4, 3, 3)}, {}, "layer '0' has weight, and no matrix"),
        ({"0.bias": (4,)}, {}, "layer '0' has bias, and no matrix"),
        ({"0.weight": (1, 3)}, {"architecture": "nerf"}, "architecture is 'nerf'; it can be mlp"),
        ({"0.weight": (1, 3)}, {"output": "y"}, "output has no meaning for a file of this kind"),
        ({"0.weight": (1, 3)}, {"inputs": {"code": torch.zeros(2)}}, "inputs code; .* 'latent'"),
        ({}, {}, "it holds 0 state dicts"),
    ],
)
def test_what_is_wrong_is_said(state, settings, message, tmp_path):
    torch.save({key: torch.zeros(shape) for key, shape in state.items()}, tmp_path / "net.pt")
    with pytest.raises(InputError, match=message):
        load_network(tmp_path / "net.pt", **settings)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"networks are read from \.onnx, \.pt"):
        load_network("net.h5")
    with pytest.raises(InputError, match="there is no file"):
        load_network(tmp_path / "none.pt")
    checkpoint = TRAINED.parent / "version_0.1_fit.pt"
    with pytest.raises(InputError, match=r"it is a checkpoint of shapeopt.*shapeopt extract reads"):
        load_network(checkpoint)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    network = random_mlp(3, 8, 8, 1, dtype=torch.float32).to(dtype)
    network[-1].bias.data.sub_(network(torch.zeros(1, 3, dtype=dtype))[0])
    single = random_mlp(3, 8, 8, 1, dtype=torch.float32)
    single.load_state_dict(network.state_dict())
    with pytest.warns(UserWarning, match="half-precision weights are computed in float32"):
        surface = shapeopt.extract_surface(network)
    expected = shapeopt.extract_surface(single)
    torch.testing.assert_close(surface.vertices, expected.vertices)
    surface.area().backward()
    expected.area().backward()
    torch.testing.assert_close(network[0].weight.grad, single[0].weight.grad.to(dtype))
