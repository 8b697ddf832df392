"""A TorchScript module as one whose forward calls functions of torch.

A ScriptModule takes tensors alone. Its graph says which functions it calls, so it is run node by
node, with the parameters of the ScriptModule itself.
"""

import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapeopt.errors import InputError


def _append(items: list, item: Any) -> list:
    items.append(item)
    return items


NUMBERS: dict[str, Callable] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "remainder": operator.mod,
    "neg": operator.neg,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "__not__": operator.not_,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "len": len,
    "Int": int,
    "IntImplicit": int,
    "ScalarImplicit": lambda x: x,
    "Float": float,
    "FloatImplicit": float,
    "Bool": bool,
    "__getitem__": operator.getitem,
    "append": _append,
    "sqrt": lambda x: x**0.5,
}
"""What is done to numbers and lists, by the name in ``aten::``."""


WHOLE = (0, 1, 2, 3, 4, 11)
"""The numbers of integer types and bool in a graph."""


class ScriptNetwork(nn.Module):
    """Runs the graph of a ScriptModule one node after the other.

    Its parameters are those of the ScriptModule, so gradients reach them.

    Attributes:
        input_dimension: inputs of the first linear map that was a module; None if there is none.

    Raises:
        InputError: when it runs, for a node that is not known: it names the node and its line.
    """

    def __init__(self, script: torch.jit.ScriptModule):
        super().__init__()
        self.script = script
        self._graph = script.inlined_graph  # type: ignore[attr-defined]
        inputs = list(self._graph.inputs())
        if len(inputs) != 2:
            raise InputError(
                f"the TorchScript module takes {len(inputs) - 1} inputs; script one that takes the "
                "points alone"
            )

        linear = [
            module
            for module in script.modules()
            if getattr(module, "original_name", "") == "Linear" and hasattr(module, "weight")
        ]
        self.input_dimension = int(linear[0].weight.shape[1]) if linear else None  # type: ignore

    def forward(self, points: Any) -> Any:
        """What the ScriptModule computes."""
        own, given = (value.debugName() for value in self._graph.inputs())
        values: dict[str, Any] = {own: self.script, given: points}
        (result,) = _run(self._graph, values)
        return result


@contextmanager
def nodes_for_scripts(network: nn.Module) -> Iterator[None]:
    """Within it, ScriptModules that are parts of a network are run node by node."""
    replaced = [
        (parent, name, child)
        for parent in network.modules()
        if not isinstance(parent, torch.jit.ScriptModule)
        for name, child in parent._modules.items()
        if isinstance(child, torch.jit.ScriptModule) and not isinstance(parent, ScriptNetwork)
    ]
    for parent, name, child in replaced:
        parent._modules[name] = ScriptNetwork(child)
    try:
        yield
    finally:
        for parent, name, child in replaced:
            parent._modules[name] = child


def _run(block: Any, values: dict[str, Any]) -> list[Any]:
    """The outputs of a graph or block; ``values`` gets what is computed on the way."""
    for node in block.nodes():
        given = [values[value.debugName()] for value in node.inputs()]
        if node.kind() == "prim::If":
            taken, other = node.blocks()
            results = _run(taken if given[0] else other, values)
        elif node.kind() == "prim::Loop":
            results = _loop(node, given, values)
        else:
            try:
                results = _results(node, given)
            except Exception as error:
                raise InputError(f"{node.kind()}{_place(node)}: {error}") from error
        names = [value.debugName() for value in node.outputs()]
        values |= dict(zip(names, results, strict=True))
    return [values[value.debugName()] for value in block.outputs()]


def _loop(node: Any, given: list[Any], values: dict[str, Any]) -> list[Any]:
    """A loop whose length and condition are numbers."""
    count, goes_on, *carried = given
    (block,) = node.blocks()
    names = [value.debugName() for value in block.inputs()]
    for index in range(count):
        if not goes_on:
            break
        values |= dict(zip(names, [index, *carried], strict=True))
        goes_on, *carried = _run(block, values)
    return carried


def _place(node: Any) -> str:
    """Where in the source a node comes from, if that is known."""
    found = re.search(r'(?:File ")?([^\s"]+\.py)(?:", line |\()(\d+)', node.sourceRange())
    return f" ({found[1]}, line {found[2]})" if found else ""


def _results(node: Any, given: list[Any]) -> list[Any]:
    namespace, name = node.kind().split("::")
    if namespace == "aten":
        result = _call(name, node, given)
        return list(result) if node.outputsSize() > 1 else [result]
    if name == "Constant":
        return [next(node.outputs()).toIValue()]
    if name == "GetAttr":
        return [getattr(given[0], node.s("name"))]
    if name == "ListConstruct":
        return [given]
    if name == "TupleConstruct":
        return [tuple(given)]
    if name in ("ListUnpack", "TupleUnpack"):
        return list(given[0])
    if name in ("NumToTensor", "unchecked_cast"):
        return given
    if name in ("dtype", "device"):
        return [getattr(given[0], name)]
    raise InputError("it is not known here")


def _call(name: str, node: Any, given: list[Any]) -> Any:
    """A function of ``aten::`` by its name in Python."""
    if not any(_is_value(part) for part in given):
        if name in NUMBERS:
            return NUMBERS[name](*given)
    elif name in RENAMED:
        return RENAMED[name](*given)
    home = next((home for home in (torch, functional) if hasattr(home, name)), None)
    # What is no function is a method of the first argument.
    function = getattr(given[0], name) if home is None else getattr(home, name)
    schema = torch._C.parse_schema(node.schema())
    # In Python alpha is a keyword, in a graph not always.
    named = [a.name if a.kwarg_only or a.name == "alpha" else None for a in schema.arguments]
    placed = [value for value, keyword in zip(given, named, strict=True) if keyword is None]
    placed = placed[1:] if home is None else placed
    keywords = {
        keyword: value
        for value, keyword, argument in zip(given, named, schema.arguments, strict=True)
        if keyword is not None and value != argument.default_value
    }
    return function(*placed, **keywords)


def _is_value(part: Any) -> bool:
    """Tensors and lists of them."""
    if isinstance(part, list | tuple):
        return any(_is_value(inner) for inner in part)
    return isinstance(part, Tensor)


def _slice(x: Any, dim: int, start: int | None, end: int | None, step: int) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _size(x: Any, dim: int | None = None) -> Any:
    return list(x.shape) if dim is None else x.shape[dim]


def _expand(x: Any, sides: list[int], implicit: bool) -> Any:
    return x.expand(sides)


def _to(x: Any, *rest: Any) -> Any:
    """Everything is computed in the dtype and on the device of the points and weights."""
    if any(type(part) is int and part in WHOLE for part in rest):
        raise InputError("values are made whole numbers")
    return x


def _batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *rest: Any) -> Any:
    training, momentum, eps, _ = rest
    return functional.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)


def _convolution(x: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    stride, padding, dilation, transposed, _, groups, *_ = rest
    if transposed:
        raise InputError("a transposed convolution")
    convolve = {3: torch.conv1d, 4: torch.conv2d, 5: torch.conv3d}[weight.ndim]
    return convolve(x, weight, bias, stride, padding, dilation, groups)


RENAMED: dict[str, Callable] = {
    "slice": _slice,
    "size": _size,
    "expand": _expand,
    "to": _to,
    "batch_norm": _batch_norm,
    "_convolution": _convolution,
    "dim": lambda x: x.ndim,
    "len": len,
    "detach": lambda x: x.detach(),
    "contiguous": lambda x, layout: x,
    "__getitem__": operator.getitem,
    "Int": int,
    "append": _append,
    "split_with_sizes": torch.split,
}
"""Functions whose arguments in Python are others."""
