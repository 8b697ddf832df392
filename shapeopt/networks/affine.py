"""The affine view of a module: what the extractors see of a network."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.errors import InputError


class AffineLayer(NamedTuple):
    """One affine map ``y = x @ weight.T + bias``; a ReLU follows every layer but the last."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, "out"]


def affine_layers(network: nn.Module) -> list[AffineLayer]:
    """The network as affine layers with a ReLU between each two, none after the last.

    Accepts ``nn.Linear``, ``nn.ReLU``, ``nn.Identity``, ``nn.Dropout`` in eval mode and
    ``nn.Sequential`` of them, nested as you like. Two ``nn.Linear`` in a row are multiplied out.
    The tensors keep their graph: they are the parameters themselves, or made of them.

    Raises:
        InputError: for any other module, a ReLU at the start or the end, or weights that are NaN
            or infinite.
    """
    layers: list[AffineLayer] = []
    after_relu = True
    for name, module in _leaves(network):
        if isinstance(module, nn.Linear):
            layer = AffineLayer(module.weight, _bias_of(module))
            if not after_relu:
                layer = _compose(layers.pop(), layer)
            layers.append(layer)
            after_relu = False
        elif isinstance(module, nn.ReLU):
            if not layers:
                raise InputError("the network starts with a ReLU; it must start with nn.Linear")
            after_relu = True
        elif isinstance(module, nn.Identity):
            continue
        elif isinstance(module, nn.Dropout):
            if module.training:
                raise InputError(f"dropout {name!r} is active; call network.eval() first")
        else:
            raise InputError(
                f"layer {name!r} is {type(module).__name__}, which is not known to be piecewise "
                "affine; the exact surface exists for nn.Sequential of nn.Linear and nn.ReLU"
            )
    if not layers or after_relu:
        raise InputError("the network must end with nn.Linear, without an activation after it")
    _check_finite(layers)
    return layers


def without_graph(layers: Sequence[AffineLayer]) -> list[AffineLayer]:
    """The same layers as constants."""
    return [AffineLayer(layer.weight.detach(), layer.bias.detach()) for layer in layers]


def as_module(layers: Sequence[AffineLayer]) -> nn.Sequential:
    """Affine layers as ``nn.Linear`` with an ``nn.ReLU`` between each two; their values copied."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        linear.weight.data, linear.bias.data = weight.detach().clone(), bias.detach().clone()
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _leaves(module: nn.Module, name: str = "") -> list[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential):
        return [(name or type(module).__name__, module)]
    return [
        leaf
        for child_name, child in module.named_children()
        for leaf in _leaves(child, f"{name}.{child_name}" if name else child_name)
    ]


def _bias_of(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


def _compose(first: AffineLayer, second: AffineLayer) -> AffineLayer:
    return AffineLayer(second.weight @ first.weight, second.weight @ first.bias + second.bias)


def _check_finite(layers: list[AffineLayer]) -> None:
    for index, layer in enumerate(layers):
        bad = sum(int((~torch.isfinite(part)).sum()) for part in layer)
        if bad:
            raise InputError(
                f"affine layer {index} has {bad} weights that are NaN or infinite; "
                "training has diverged (try a smaller learning rate) or the file is damaged"
            )
