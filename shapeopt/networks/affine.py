"""The affine view of a network: what the extractors see of it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from shapeopt.errors import InputError
from shapeopt.networks.encoding import Encoding


class AffineLayer(NamedTuple):
    """One affine map ``y = x @ weight.T + bias``; a ReLU follows every layer but the last.

    Attributes:
        weight, bias: of the map.
        is_linear: the neurons that no ReLU follows: they pass on what later layers need, have no
            fold, and count as + everywhere. None if there are none.
        encoding: that a network's points go through before its first layer; None if they do not.
    """

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, "out"]
    is_linear: Bool[Tensor, "out"] | None = None
    encoding: Encoding | None = None

    @property
    def dimension(self) -> int:
        """Of the points that a network with this first layer takes."""
        return self.weight.shape[1] if self.encoding is None else 3

    def inputs(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n in"]:
        """What the layer gets for points, if it is a network's first."""
        return points if self.encoding is None else self.encoding(points)

    def values(self, inputs: Float[Tensor, "n in"]) -> Float[Tensor, "n out"]:
        """The pre-activations, neuron after neuron: with rows of 16, 32 or 64 float64 numbers a CPU
        takes up to twice as long."""
        return torch.addmm(self.bias[:, None], self.weight, inputs.T).T

    def activated(self, values: Float[Tensor, "n out"]) -> Float[Tensor, "n out"]:
        """What the next layer gets; ``values`` is overwritten where no gradient is needed."""
        if self.is_linear is None:
            return values.relu() if values.requires_grad else values.relu_()
        return torch.where(self.is_linear, values, values.relu())

    def uncut(self) -> "AffineLayer":
        """The layer with linear neurons alone: nothing folds at its zeros."""
        return self._replace(is_linear=torch.ones_like(self.bias, dtype=torch.bool))

    def map(self, function: Callable[[Tensor], Tensor]) -> "AffineLayer":
        """The layer with the function applied to weight and bias."""
        encoding = None if self.encoding is None else self.encoding.map(function)
        return AffineLayer(function(self.weight), function(self.bias), self.is_linear, encoding)


def without_graph(layers: Sequence[AffineLayer]) -> list[AffineLayer]:
    """The same layers as constants."""
    return [layer.map(Tensor.detach) for layer in layers]


def linear_neurons(layers: Sequence[AffineLayer]) -> Int64[Tensor, "k"] | None:
    """The hidden neurons without a fold, counted over all layers; None if there are none."""
    first, found = 0, []
    for layer in layers[:-1]:
        if layer.is_linear is not None:
            found.append(first + torch.nonzero(layer.is_linear).flatten())
        first += len(layer.bias)
    return torch.cat(found) if found else None


def evaluate(layers: Sequence[AffineLayer], points: Float[Tensor, "n d"]) -> Float[Tensor, "n out"]:
    """The network of the layers at points."""
    points = layers[0].inputs(points)
    for layer in layers[:-1]:
        points = layer.activated(layer.values(points))
    return layers[-1].values(points)


def as_module(layers: Sequence[AffineLayer]) -> nn.Sequential:
    """Affine layers as ``nn.Linear`` with an ``nn.ReLU`` between each two; their values copied.

    Raises:
        InputError: for layers with linear neurons, which this form has no place for.
    """
    modules: list[nn.Module] = []
    for weight, bias, is_linear, encoding in layers:
        if is_linear is not None or encoding is not None:
            raise InputError(
                "a network with an encoding, or with connections that skip a ReLU, cannot be "
                "written as nn.Sequential of nn.Linear and nn.ReLU"
            )
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        linear.weight.data, linear.bias.data = weight.detach().clone(), bias.detach().clone()
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])
