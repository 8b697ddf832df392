"""What the nodes of an ONNX graph compute, in functions of torch.

They work on numbers and, when a network is read, on forms (``forms.py``). Operators came to take as
inputs what were attributes once; both are understood.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shapeopt.errors import InputError
from shapeopt.networks.forms import Form

Value = Any
"""A tensor, which is a form when a network is read; None for an input that is left out."""

NO_BOUND = 3e38
"""Clipping at the largest float32 is none."""


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        kind: name of the operator.
        name: of the node.
        inputs, outputs: names of values; "" for one that is left out.
        attributes: numbers, strings, tensors, or lists of them.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)


def whole_numbers(node: Node, name: str, given: Sequence[Value], place: int) -> list[int] | None:
    """Integers from an attribute or, in later versions, from an input; None if there are none."""
    if name in node.attributes:
        return list(node.attributes[name])
    value = given[place] if len(given) > place else None
    if value is None:
        return None
    if isinstance(value, Form):
        raise InputError(f"its {name} depend on the network's inputs")
    return [int(x) for x in value.flatten().tolist()]


def _gemm(node: Node, a: Value, b: Value, c: Value = None) -> Value:
    a = a.t() if node.get("transA", 0) else a
    b = b.t() if node.get("transB", 0) else b
    product, alpha, beta = torch.matmul(a, b), node.get("alpha", 1.0), node.get("beta", 1.0)
    product = product if alpha == 1 else product * alpha
    return product if c is None else torch.add(product, c if beta == 1 else c * beta)


def _div(node: Node, a: Value, b: Value) -> Value:
    if not a.is_floating_point():
        return torch.div(a, b, rounding_mode="trunc")
    return torch.div(a, b)


def _prelu(node: Node, x: Value, slope: Tensor) -> Value:
    return x * slope + torch.relu(x) * (1 - slope)


def _clip(node: Node, x: Value, low: Value = None, high: Value = None) -> Value:
    low, high = _bound(node.get("min", low)), _bound(node.get("max", high))
    return x if low is None and high is None else torch.clamp(x, low, high)


def _bound(value: Value) -> float | None:
    number = value.item() if isinstance(value, Tensor) else value
    return None if number is None or abs(number) > NO_BOUND else number


def _hard_sigmoid(node: Node, x: Value) -> Value:
    return torch.clamp(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0.0, 1.0)


def _of_all(of_two: Callable) -> Callable:
    def run(node: Node, *values: Value) -> Value:
        return reduce(of_two, values)

    return run


def _reduced(function: Callable) -> Callable:
    def run(node: Node, x: Value, *rest: Value) -> Value:
        axes = whole_numbers(node, "axes", [x, *rest], 1)
        if not axes and node.get("noop_with_empty_axes", 0):
            return x
        axes = axes or list(range(x.ndim))
        return function(x, dim=axes, keepdim=bool(node.get("keepdims", 1)))

    return run


def _padding(node: Node, dimension: int) -> tuple[list[int], list[int]]:
    """At the start and at the end of each dimension."""
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise InputError(f"auto_pad={node.get('auto_pad')} is not supported; export explicit pads")
    pads = list(node.get("pads", [0] * 2 * dimension))
    return pads[:dimension], pads[dimension:]


def _even_padding(node: Node, dimension: int) -> list[int]:
    start, end = _padding(node, dimension)
    if start != end:
        raise InputError(f"pooling with other padding at the start {start} than at the end {end}")
    return start


def _conv(node: Node, x: Value, weight: Value, bias: Value = None) -> Value:
    dimension = weight.ndim - 2
    start, end = _padding(node, dimension)
    if start != end:
        pairs = list(zip(start, end, strict=True))[::-1]
        x, start = functional.pad(x, [p for pair in pairs for p in pair]), [0] * dimension
    convolve = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[dimension]
    ones = [1] * dimension
    strides, dilations = node.get("strides", ones), node.get("dilations", ones)
    return convolve(x, weight, bias, strides, start, dilations, node.get("group", 1))


def _max_pool(node: Node, x: Value) -> Value:
    kernel = node.get("kernel_shape")
    ones = [1] * len(kernel)
    if len(node.outputs) > 1:
        raise InputError("the places of the maxima are an output")
    pool = {1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d}[len(kernel)]
    strides, dilations = node.get("strides", ones), node.get("dilations", ones)
    padding = _even_padding(node, len(kernel))
    return pool(x, kernel, strides, padding, dilations, bool(node.get("ceil_mode", 0)))


def _average_pool(node: Node, x: Value) -> Value:
    kernel = node.get("kernel_shape")
    ones = [1] * len(kernel)
    if node.get("dilations", ones) != ones:
        raise InputError("average pooling with dilations")
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(kernel) - 1]
    padding, counts = _even_padding(node, len(kernel)), bool(node.get("count_include_pad", 0))
    strides = node.get("strides", ones)
    return pool(x, kernel, strides, padding, bool(node.get("ceil_mode", 0)), counts)


def _global_average(node: Node, x: Value) -> Value:
    return torch.mean(x, dim=list(range(2, x.ndim)), keepdim=True)


def _global_max(node: Node, x: Value) -> Value:
    return torch.amax(x, dim=list(range(2, x.ndim)), keepdim=True)


def _batch_norm(
    node: Node, x: Value, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Value:
    if node.get("training_mode", 0):
        raise InputError("batch norm depends on the batch; export the network in eval mode")
    factor = scale * (variance + node.get("epsilon", 1e-5)).rsqrt()
    view = [1, -1] + [1] * (x.ndim - 2)
    return x * factor.view(view) + (shift - mean * factor).view(view)


def _flatten(node: Node, x: Value) -> Value:
    axis = node.get("axis", 1)
    return x.flatten(1) if axis == 1 else x.reshape(prod(x.shape[:axis]), -1)


def _reshape(node: Node, x: Value, *rest: Value) -> Value:
    sides = whole_numbers(node, "shape", [x, *rest], 1) or []
    if not node.get("allowzero", 0):
        sides = [x.shape[place] if side == 0 else side for place, side in enumerate(sides)]
    return x.reshape(sides)


def _transpose(node: Node, x: Value) -> Value:
    return x.permute(node.get("perm", list(range(x.ndim))[::-1]))


def _squeeze(node: Node, x: Value, *rest: Value) -> Value:
    axes = whole_numbers(node, "axes", [x, *rest], 1)
    if axes is None:
        axes = [axis for axis, side in enumerate(x.shape) if side == 1]
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(node: Node, x: Value, *rest: Value) -> Value:
    axes = whole_numbers(node, "axes", [x, *rest], 1) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _concat(node: Node, *values: Value) -> Value:
    return torch.cat(list(values), dim=node.get("axis", 1))


def _split(node: Node, x: Value, *rest: Value) -> Value:
    axis = node.get("axis", 0)
    sizes = whole_numbers(node, "split", [x, *rest], 1)
    if sizes is None:
        each = -(-x.shape[axis] // len(node.outputs))
        sizes = [each] * (len(node.outputs) - 1)
        sizes.append(x.shape[axis] - sum(sizes))
    return torch.split(x, sizes, axis)


def _slice(node: Node, x: Value, *rest: Value) -> Value:
    given = [x, *rest]
    starts = whole_numbers(node, "starts", given, 1) or []
    ends = whole_numbers(node, "ends", given, 2) or []
    axes = whole_numbers(node, "axes", given, 3) or list(range(len(starts)))
    steps = whole_numbers(node, "steps", given, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(x.shape[axis])[start:end:step]
        x = torch.index_select(x, axis, torch.tensor(list(places), device=x.device))
    return x


def _gather(node: Node, x: Value, places: Tensor) -> Value:
    axis = node.get("axis", 0) % x.ndim
    places = torch.where(places < 0, places + x.shape[axis], places)
    if places.ndim == 0:
        return x.select(axis, int(places))
    taken = torch.index_select(x, axis, places.flatten())
    return taken if places.ndim == 1 else taken.unflatten(axis, places.shape)


def _shape(node: Node, x: Value) -> Tensor:
    return torch.tensor(list(x.shape)[node.get("start", 0) : node.get("end")], device=x.device)


def _expand(node: Node, x: Value, sides: Tensor) -> Value:
    shape = torch.broadcast_shapes(tuple(x.shape), tuple(sides.tolist()))
    return x.expand(shape)


def _constant_of_shape(node: Node, sides: Tensor) -> Tensor:
    value = node.get("value", torch.zeros(1))
    return value.to(sides.device).expand(tuple(sides.tolist()))


def _dropout(node: Node, x: Value, *rest: Value) -> Value:
    training = rest[1] if len(rest) > 1 else None
    if training is not None and bool(training):
        raise InputError("dropout is active; export the network in eval mode")
    return x


def _norm(x: Value, dim: Sequence[int], keepdim: bool) -> Value:
    return torch.linalg.vector_norm(x, 2, dim, keepdim)


def _plain(function: Callable) -> Callable:
    """A function of torch with the same arguments."""

    def run(node: Node, *values: Value) -> Value:
        return function(*values)

    return run


OPERATORS: dict[str, Callable[..., Value]] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _div,
    "Dropout": _dropout,
    "Equal": _plain(torch.eq),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "HardSigmoid": _hard_sigmoid,
    "Identity": lambda node, x: x,
    "LeakyRelu": lambda node, x: functional.leaky_relu(x, node.get("alpha", 0.01)),
    "MatMul": _plain(torch.matmul),
    "Max": _of_all(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _of_all(torch.minimum),
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "PRelu": _prelu,
    "Pow": _plain(torch.pow),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL2": _reduced(_norm),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Sum": _of_all(torch.add),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}
"""By the operator's name; the first argument is the node. Some (``Exp``) are there for weights that
a graph computes: of values that depend on the inputs they are refused when the network is read."""
