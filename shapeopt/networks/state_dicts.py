"""Networks from weights alone: what a state dict does not say is an architecture's name."""

import math
import re
from collections.abc import Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.errors import InputError

ARCHITECTURES = ("mlp", "deepsdf", "igr")

ROLES = {
    "weight": "weight",
    "bias": "bias",
    "weight_g": "length",
    "weight_v": "direction",
    "parametrizations.weight.original0": "length",
    "parametrizations.weight.original1": "direction",
}
"""The last part of a name in a state dict; a weight may be a length and a direction per row."""


class SkipMLP(nn.Module):
    """Linear layers with an activation between each two; some see the input once more.

    Args:
        layers: weight and bias of each. Where a layer takes as many numbers as the layer before
            gives and the input has, it gets both, in this order.
        latent: put before every point; None if there is none.
        scale: of what a layer with a skip gets.
        activation: between layers.
        last: after the last layer.
    """

    def __init__(
        self,
        layers: list[tuple[Tensor, Tensor]],
        latent: Float[Tensor, "k"] | None,
        scale: float,
        activation: nn.Module,
        last: nn.Module,
    ):
        super().__init__()
        self.layers = nn.ModuleList(_linear(weight, bias) for weight, bias in layers)
        self.latent = None if latent is None else nn.Parameter(latent.to(layers[0][0]))
        self.scale = scale
        self.activation = activation
        self.last = last
        size = layers[0][0].shape[1]
        self.input_dimension = size - (0 if latent is None else len(latent))
        self.has_skip = [False] + [
            after[0].shape[1] == len(before[0]) + size for before, after in pairwise(layers)
        ]

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n out"]:
        """Values at points."""
        inputs = points
        if self.latent is not None:
            inputs = torch.cat([self.latent.expand(len(points), -1), points], dim=1)
        values = inputs
        for index, (layer, has_skip) in enumerate(zip(self.layers, self.has_skip, strict=True)):
            values = self.activation(values) if index else values
            if has_skip:
                values = torch.cat([values, inputs], dim=1) * self.scale
            values = layer(values)
        return self.last(values)


def network_from_weights(
    state: Mapping[str, Tensor],
    architecture: str = "mlp",
    latent: Float[Tensor, "k"] | None = None,
    beta: float | None = None,
) -> nn.Module:
    """A network of linear layers from its weights by name.

    Names are ``W0, b0``, ``0.weight``, ``layers.0.weight``, ``lin0.weight_g, lin0.weight_v`` and
    the like. Layers come in the order of their numbers.

    Args:
        state: the weights; a state dict.
        architecture: ``"mlp"``; ``"deepsdf"`` (Park et al., CVPR 2019), with a skip and a last
            tanh; or ``"igr"`` (Gropp et al., ICML 2020; NeuS without encoding), whose skip is
            divided by the root of 2.
        latent: code that is put before every point.
        beta: of the softplus between layers; ReLU if None.

    Raises:
        InputError: if the names are others, or the shapes do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"architecture is {architecture!r}; it can be {', '.join(ARCHITECTURES)}")
    if latent is not None and latent.ndim != 1:
        raise InputError(f"the latent code has shape {list(latent.shape)}; give one code, [k]")
    layers = _layers(state)
    _check_chain(layers, skips=architecture != "mlp")
    activation = nn.ReLU() if beta is None else nn.Softplus(beta)
    if architecture == "mlp" and latent is None:
        modules = [m for weight, bias in layers for m in (_linear(weight, bias), activation)]
        return nn.Sequential(*modules[:-1])
    scale = 1 / math.sqrt(2) if architecture == "igr" else 1.0
    last = nn.Tanh() if architecture == "deepsdf" else nn.Identity()
    return SkipMLP(layers, latent, scale, activation, last)


def _linear(weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"]) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight.data, linear.bias.data = weight.detach().clone(), bias.detach().clone()
    return linear


def _layers(state: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each layer, ``[out, in]`` and ``[out]``."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, role = _split_name(key)
        parts.setdefault(name, {})[role] = value
    names = list(parts)
    if len({re.sub(r"\d+", "", name) for name in names}) == 1:
        names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    layers = [_layer(name, parts[name]) for name in names]
    if not _fit(layers) and _fit(turned := [(weight.T, bias) for weight, bias in layers]):
        return turned
    return layers


def _split_name(key: str) -> tuple[str, str]:
    """The layer's name, and what of the layer it is."""
    if short := re.fullmatch(r"(w|weights?|b|bias(?:es)?)_?(\d+)", key, re.IGNORECASE):
        return short[2], "weight" if short[1][0] in "wW" else "bias"
    for ending, role in ROLES.items():
        if key.endswith("." + ending):
            return key.removesuffix("." + ending), role
    raise InputError(
        f"{key!r} is no weight or bias of a linear layer; build the network in PyTorch, load the "
        "weights into it, and give that to extract_surface"
    )


def _layer(name: str, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    if {"length", "direction"} <= parts.keys():
        direction = parts["direction"]
        parts["weight"] = parts["length"] * direction / direction.norm(dim=1, keepdim=True)
    weight = parts.get("weight")
    if weight is None or weight.ndim != 2 or not weight.is_floating_point():
        raise InputError(f"layer {name!r} has {', '.join(parts)}, and no matrix as its weight")
    bias = parts.get("bias")
    return weight, weight.new_zeros(len(weight)) if bias is None else bias.flatten()


def _fit(layers: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether each layer takes as many numbers as the one before gives."""
    chained = all(len(before[0]) == after[0].shape[1] for before, after in pairwise(layers))
    return chained and all(len(weight) == len(bias) for weight, bias in layers)


def _check_chain(layers: list[tuple[Tensor, Tensor]], skips: bool) -> None:
    """Raises InputError if a layer does not take what the one before gives."""
    size = layers[0][0].shape[1]
    for index, (weight, bias) in enumerate(layers):
        if len(weight) != len(bias):
            raise InputError(f"layer {index} has weight {list(weight.shape)}, bias {len(bias)}")
    for index, ((before, _), (after, _)) in enumerate(pairwise(layers), start=1):
        missing = after.shape[1] - len(before)
        if missing and not (skips and missing == size):
            hint = "; is it a skip? Then give architecture=" if missing == size else ""
            raise InputError(
                f"layer {index} takes {after.shape[1]} numbers, and the one before gives "
                f"{len(before)}{hint and hint + repr(ARCHITECTURES[1]) + ' or another'}"
            )
