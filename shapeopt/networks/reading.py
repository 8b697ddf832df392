"""Reads any piecewise-affine network as affine layers with ReLUs between them."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from shapeopt.errors import InputError
from shapeopt.networks.affine import AffineLayer
from shapeopt.networks.encoding import EncodedNetwork
from shapeopt.networks.forms import Form, Record
from shapeopt.networks.half_precision import HALF, InFloat32, in_float32
from shapeopt.networks.lowering import lower
from shapeopt.networks.operations import apply
from shapeopt.networks.outer import Outer
from shapeopt.networks.script_network import ScriptNetwork, nodes_for_scripts
from shapeopt.networks.views import LevelSet

POINTS = 32
"""Points at which a network is compared with what was read of it."""

SLACK_ULPS = 1e4
"""Two ways to sum the same terms differ by less than this many ulps of their size."""

PLAIN = (nn.Sequential, nn.Linear, nn.ReLU, nn.Identity)
"""Modules that are read without running them."""

_form_run: WeakKeyDictionary[nn.Module, list[Any]] = WeakKeyDictionary()
"""The form of the weights that plain networks had when they were last run."""


@dataclass(frozen=True)
class Reading:
    """What was read of a network.

    Attributes:
        layers: with graph; the zero set of the network is that of the layers. In float64 if the
            network was run: what cancels in it must do so in its products, too.
        dtype: of the network's weights.
        outer: the monotone functions that the network ends with, if it does.
        is_plain: whether it was read as it stands, from modules known to compute these layers.
    """

    layers: list[AffineLayer]
    dtype: torch.dtype
    outer: Outer | None = None
    is_plain: bool = False

    def form(self) -> list[Any]:
        """Shape, dtype and device of each weight and bias: a step of training leaves them alone."""
        parts = [part for layer in self.layers for part in (layer.weight, layer.bias)]
        return [(part.shape, part.dtype, part.device) for part in parts]


def read_network(network: nn.Module, dimension: int | None = None) -> Reading:
    """The network as affine layers with a ReLU between each two, none after the last.

    ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU`` is read as it stands. Any other module is run
    once on coefficients in place of numbers (``forms.py``): it may do whatever is affine, and fold
    by ReLU, leaky ReLU, PReLU, ReLU6, hardtanh, hardsigmoid, softshrink, abs, clamp, maximum,
    minimum, amax, amin and max pooling. The tensors keep their graph.

    Args:
        network: in eval mode, if that matters to it; takes ``[n, d]``. One in half precision is
            computed in float32, with a warning.
        dimension: d; that of the first weights if None.

    Raises:
        InputError: for what is not known to be piecewise affine, with the module and the function;
            and for weights that are NaN or infinite.
    """
    if not isinstance(network, nn.Module):
        raise InputError(
            f"the network is {_told(network)}; give an nn.Module, or "
            "shapeopt.load_network(path) for one in a file"
        )
    network = _unwrapped(network)
    layers = _plain_layers(network)
    if layers is not None and all(
        part.dtype not in HALF for layer in layers for part in (layer.weight, layer.bias)
    ):
        reading = Reading(layers, layers[0].weight.dtype, is_plain=True)
    else:
        reading = _read_other(network, dimension)
    _check_finite(reading.layers)
    return reading


def _told(value: object) -> str:
    return repr(value) if isinstance(value, (str, Path)) else f"a {type(value).__name__}"


def _read_other(network: nn.Module, dimension: int | None) -> Reading:
    """What is read of a network that is encoded, or has to be run."""
    network = in_float32(network)
    if isinstance(network, InFloat32):
        warnings.warn("the network's half-precision weights are computed in float32", stacklevel=3)
    if isinstance(network, torch.jit.ScriptModule):
        network = ScriptNetwork(network)
    if (layers := _encoded_layers(network)) is not None:
        return Reading(layers, layers[0].weight.dtype)
    return _run_on_forms(network, dimension)


def affine_layers(network: nn.Module, dimension: int | None = None) -> list[AffineLayer]:
    """The layers that :func:`read_network` reads."""
    return read_network(network, dimension).layers


@torch.no_grad()
def check_reading(network: nn.Module, reading: Reading, lower: Tensor, upper: Tensor) -> None:
    """Runs the network at a few points and compares it with what was read of it.

    A plain network is run once, and again when the form of its weights has changed: in every step
    of a training this took 0.7 ms of 30.

    Args:
        network: in the dtype and on the device of its weights; float32 if that is less.
        reading: what :func:`read_network` read.
        lower, upper: corners of the box that the points are drawn from, ``[d]``.

    Raises:
        InputError: if the two differ by more than rounding.
    """
    if reading.is_plain and _form_run.get(network) == reading.form():
        return
    given, network, layers = network, in_float32(_unwrapped(network)), reading.layers
    weight = layers[0].weight
    eps = torch.finfo(reading.dtype).eps
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(POINTS, layers[0].dimension, generator=generator, dtype=torch.float64)
    points = torch.lerp(lower.double(), upper.double(), place.to(lower.device)).to(reading.dtype)
    try:
        run = network(points)
    except Exception as error:
        raise InputError(
            f"the network cannot be run on points of shape {list(points.shape)}: {error}"
        ) from error
    read, size = _values_and_terms(layers, points.to(weight.dtype))
    if reading.outer is not None:
        read = reading.outer.outside(read + reading.outer.level())
    if run.shape != read.shape and run.numel() != read.numel():
        raise InputError(
            f"the network gives {list(run.shape)} for points of shape {list(points.shape)}, and "
            f"not {list(read.shape)}; give it a final nn.Linear, and no reshaping over points"
        )
    difference = (run.reshape(read.shape) - read).abs().amax()
    if not bool(difference <= SLACK_ULPS * eps * size):
        raise InputError(
            f"the network that runs is not the one that was read: they differ by up to "
            f"{float(difference):.3g} at points of the box. Something takes part in its forward "
            "pass that depends on the values or on the number of points (a patched method, random "
            "numbers, a rounding); give a module that computes each point by itself"
        )
    if reading.is_plain:
        _form_run[given] = reading.form()


def _values_and_terms(layers: Sequence[AffineLayer], points: Tensor) -> tuple[Tensor, Tensor]:
    """The layers' outputs, and the largest sum of absolute terms: what rounding is relative to."""
    points = layers[0].inputs(points)
    size = points.abs().amax()
    for index, layer in enumerate(layers):
        terms = torch.addmm(layer.bias.abs(), points.abs(), layer.weight.abs().T)
        size = torch.maximum(size, terms.amax())
        points = layer.values(points)
        points = layer.activated(points) if index < len(layers) - 1 else points
    return points, size


def _unwrapped(network: nn.Module) -> nn.Module:
    """Without the wrappers that compile a module or spread it over devices."""
    while True:
        wrapped = isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner = getattr(network, "module" if wrapped else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def _encoded_layers(network: nn.Module) -> list[AffineLayer] | None:
    """The layers of an :class:`EncodedNetwork` or of a level set of one; None for anything else."""
    if isinstance(network, LevelSet) and network.output in (None, 0):
        layers = _encoded_layers(network.network)
        if layers is not None:
            layers[-1] = layers[-1]._replace(bias=layers[-1].bias - network.level)
        return layers
    if not isinstance(network, EncodedNetwork):
        return None
    first, *others = read_network(network.mlp).layers
    return [first._replace(encoding=network.encoding), *others]


def _plain_layers(network: nn.Module) -> list[AffineLayer] | None:
    """The layers of plain ``nn.Sequential``; None for anything else."""
    leaves = _plain_leaves(network)
    if leaves is None:
        return None
    layers: list[AffineLayer] = []
    after_relu = True
    for module in leaves:
        if isinstance(module, nn.ReLU):
            if not layers:
                return None
            after_relu = True
        elif isinstance(module, nn.Linear):
            bias = module.bias
            bias = module.weight.new_zeros(module.out_features) if bias is None else bias
            layer = AffineLayer(module.weight, bias)
            layers.append(layer if after_relu else _compose(layers.pop(), layer))
            after_relu = False
    return None if not layers or after_relu else layers


def _plain_leaves(module: nn.Module) -> list[nn.Module] | None:
    """The modules of nested ``nn.Sequential`` in the order they run; None if anything is special:
    another class (as parametrised modules have), a patched forward, or hooks."""
    is_special = (
        type(module) not in PLAIN
        or "forward" in vars(module)
        or module._forward_pre_hooks
        or module._forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_forward_hooks
    )
    if is_special:
        return None
    if not isinstance(module, nn.Sequential):
        return [module]
    leaves: list[nn.Module] = []
    # Not children(), which leaves out a module that comes a second time.
    for child in module._modules.values():
        inner = _plain_leaves(child) if child is not None else []
        if inner is None:
            return None
        leaves += inner
    return leaves


def _compose(first: AffineLayer, second: AffineLayer) -> AffineLayer:
    return AffineLayer(second.weight @ first.weight, second.weight @ first.bias + second.bias)


def _run_on_forms(network: nn.Module, dimension: int | None) -> Reading:
    parameter = next(
        (x for x in [*network.parameters(), *network.buffers()] if x.is_floating_point()), None
    )
    if parameter is None:
        raise InputError(f"{type(network).__name__} has no weights, so there is nothing to read")
    record = Record(apply)
    dtype = torch.float32 if parameter.dtype in HALF else parameter.dtype
    with nodes_for_scripts(network), _named(network) as where:
        inputs = record.inputs(dimension or input_dimension(network), parameter.double())
        try:
            output = network(inputs)
        except InputError as error:
            raise InputError(f"{where()}: {error}") from None
        except Exception as error:
            raise InputError(
                f"{where()} cannot be read as piecewise affine: {type(error).__name__}: {error}"
                + ("" if dimension else _GUESSED.format(inputs.shape[1]))
            ) from error
    if not isinstance(output, Form):
        raise InputError(
            f"the network returns {type(output).__name__}, not one tensor that depends on its "
            "inputs; wrap it in a module that returns the values alone"
        )
    layers = lower(record, output)
    if not isinstance(output, Outer):
        return Reading(layers, dtype)
    last = layers.pop()
    shifted = AffineLayer(last.weight, last.bias - output.level())
    return Reading([*layers, shifted], dtype, output)


_GUESSED = (
    "; the network was run on {} numbers, as many as its first nn.Linear takes: if it takes "
    "another number, give bounds with two corners, such as ([-1, -1, -1], [1, 1, 1])"
)


def input_dimension(network: nn.Module) -> int:
    """As a module says with ``input_dimension``, or of the first linear map that there is."""
    for module in network.modules():
        if (said := getattr(module, "input_dimension", None)) is not None:
            return int(said)
        if isinstance(module, nn.Linear):
            return module.in_features
    raise InputError(
        f"{type(network).__name__} holds no nn.Linear that tells the number of inputs; "
        "give bounds with two corners, such as ([-1, -1, -1], [1, 1, 1])"
    )


@contextmanager
def _named(network: nn.Module) -> Iterator:
    """Keeps the name of the module that runs, for messages."""
    names = {id(module): name for name, module in network.named_modules()}
    stack: list[str] = []

    def enter(module: nn.Module, _: object) -> None:
        name, kind = names.get(id(module)), type(module).__name__
        stack.append(f"layer {name!r} ({kind})" if name else kind)

    def leave(module: nn.Module, _: object, __: object) -> None:
        stack.pop()

    handles = [
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave),
    ]
    try:
        yield lambda: stack[-1] if stack else type(network).__name__
    finally:
        for handle in handles:
            handle.remove()


def _check_finite(layers: Sequence[AffineLayer]) -> None:
    parts: dict[str, tuple[Tensor, ...]] = {
        f"affine layer {i}": (layer.weight, layer.bias) for i, layer in enumerate(layers)
    }
    if layers[0].encoding is not None:
        parts["the encoding"] = layers[0].encoding.features
    numbers = [part.detach().flatten() for some in parts.values() for part in some]
    # Where a number is not finite, the sum is not; a sum that overflows is looked at as well.
    if math.isfinite(torch.cat(numbers).sum()):
        return
    for name, some in parts.items():
        bad = sum(int((~torch.isfinite(part)).sum()) for part in some)
        if bad:
            raise InputError(
                f"{name} has {bad} weights that are NaN or infinite; "
                "training has diverged (try a smaller learning rate) or the file is damaged"
            )
