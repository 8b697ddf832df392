"""An ONNX graph as a module."""

import re
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from shapeopt.errors import InputError
from shapeopt.networks.activations import Sine
from shapeopt.networks.forms import Form
from shapeopt.networks.onnx_operators import OPERATORS, Node, Value

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

DOMAINS = ("", "ai.onnx")
OLDEST = 7
"""Before this opset operators broadcast in other ways."""

SMOOTH: dict[str, Callable[[Node], nn.Module]] = {
    "Elu": lambda node: nn.ELU(node.get("alpha", 1.0)),
    "Gelu": lambda node: nn.GELU(node.get("approximate", "none")),
    "HardSwish": lambda node: nn.Hardswish(),
    "Mish": lambda node: nn.Mish(),
    "Selu": lambda node: nn.SELU(),
    "Sigmoid": lambda node: nn.Sigmoid(),
    "Sin": lambda node: Sine(),
    "Softplus": lambda node: nn.Softplus(),
    "Softsign": lambda node: nn.Softsign(),
    "Tanh": lambda node: nn.Tanh(),
}
"""Activations that are submodules, so that ``convert`` can replace them."""


class OnnxNetwork(nn.Module):
    """Runs the nodes of a graph one after the other with functions of torch.

    The graph's initialisers are parameters if they are floating point, and buffers if not. Their
    names have "_" for what is no letter or digit. All is computed in the dtype of the parameters:
    casts from one floating point type to another are left out.

    Attributes:
        input_dimension: size of a point, if the file tells it.
    """

    def __init__(
        self,
        nodes: list[Node],
        tensors: Mapping[str, Tensor],
        ends: tuple[str, str],
        input_dimension: int | None,
    ):
        """
        Args:
            nodes: in an order in which they can run.
            tensors: initialisers, constants and fixed inputs, by name.
            ends: names of the values that :meth:`forward` takes and returns.
            input_dimension: size of a point; None if the file does not tell it.
        """
        super().__init__()
        self._nodes = nodes
        self._input, self._output = ends
        self.input_dimension = input_dimension
        self._tensors = list(tensors)
        results = [node.outputs[0] for node in nodes]
        self._names = _attribute_names([*tensors, *results])
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(self._names[name], tensor)
            else:
                self.register_buffer(self._names[name], tensor)
        for node in nodes:
            if node.kind in SMOOTH:
                self.add_module(self._names[node.outputs[0]], SMOOTH[node.kind](node))

    def forward(self, points: Tensor) -> Tensor:
        """The graph's output at points ``[n, d]``; each is run by itself, as a batch of one."""
        if isinstance(points, Form):
            return self._run(points)
        return torch.vmap(lambda point: self._run(point[None])[0])(points)

    def _run(self, points: Tensor) -> Tensor:
        values: dict[str, Value] = {n: getattr(self, self._names[n]) for n in self._tensors}
        values |= {"": None, self._input: points}
        for node in self._nodes:
            try:
                result = self._result(node, [values[name] for name in node.inputs])
            except Exception as error:
                raise InputError(f"node {node.name!r} ({node.kind}): {error}") from error
            results = result if isinstance(result, tuple | list) else (result,)
            values |= dict(zip(node.outputs, results, strict=False))
        return values[self._output]

    def _result(self, node: Node, values: list[Value]) -> Value:
        if node.kind in SMOOTH:
            return getattr(self, self._names[node.outputs[0]])(*values)
        if node.kind == "Cast":
            return self._cast(values[0], node.get("to"))
        return OPERATORS[node.kind](node, *values)

    def _cast(self, value: Value, kind: torch.dtype) -> Value:
        if kind.is_floating_point:
            is_float, own = value.dtype.is_floating_point, next(self.parameters(), None)
            return value if is_float else value.to(kind if own is None else own.dtype)
        if isinstance(value, Form):
            raise InputError(f"a value that depends on the inputs is made {kind}")
        return value.to(kind)


def load_onnx(
    path: str | Path, output: str | None = None, inputs: Mapping[str, Tensor] | None = None
) -> OnnxNetwork:
    """The network of an ONNX file, with weights that gradients reach.

    Args:
        path: of the file.
        output: name of the output to take, if the graph has several.
        inputs: values of the graph's other inputs by name, such as a latent code ``[k]``, which is
            given to every point.

    Raises:
        InputError: if the onnx package is not installed, the file is damaged, or the graph has a
            node that is not known, other inputs than one, or was exported for several points.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            f"{path}: reading ONNX files takes the onnx package: pip install 'shapeopt[onnx]'"
        ) from error
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # damaged protobufs and missing data files fail in any way
        raise InputError(f"{path} is no ONNX file, or damaged: {_first_line(error)}") from error
    try:
        return _network(model, output, inputs or {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _network(model: "ModelProto", output: str | None, inputs: Mapping[str, Tensor]) -> OnnxNetwork:
    graph = model.graph
    version = next((one.version for one in model.opset_import if one.domain in DOMAINS), 0)
    if version < OLDEST:
        raise InputError(f"its opset is {version}; export it with opset {OLDEST} or later")
    if graph.sparse_initializer or model.functions:
        raise InputError("sparse weights and functions of the file's own are not known here")
    tensors = {one.name: _tensor(one) for one in graph.initializer}
    free = {one.name: one for one in graph.input if one.name not in tensors}
    points = [name for name in free if name not in inputs]
    if len(points) != 1 or not set(inputs) <= set(free):
        names = ", ".join(map(repr, free))
        raise InputError(
            f"the graph's inputs are {names}; give all but the points in inputs={{name: tensor}}"
        )
    outputs = [one.name for one in graph.output]
    if (output is None and len(outputs) > 1) or (output is not None and output not in outputs):
        raise InputError(f"the graph's outputs are {', '.join(outputs)}; give output= one of them")
    given = {name: _for_every_point(value, free[name]) for name, value in inputs.items()}
    nodes = [_node(index, one) for index, one in enumerate(graph.node)]
    constants = {n.outputs[0]: _constant(n) for n in nodes if n.kind == "Constant"}
    return OnnxNetwork(
        [node for node in nodes if node.kind != "Constant"],
        _in_one_dtype(tensors | given, constants),
        (points[0], output or outputs[0]),
        _input_dimension(free[points[0]]),
    )


def _node(index: int, one: "NodeProto") -> Node:
    attributes = {a.name: _attribute(a) for a in one.attribute}
    name = one.name or f"{one.op_type}_{index}"
    known = one.op_type in {*OPERATORS, *SMOOTH, "Cast", "Constant"}
    if one.domain not in DOMAINS or not known:
        raise InputError(
            f"node {name!r} ({one.op_type}) is not known here. Export the network with other "
            "functions, or rebuild it in PyTorch"
        )
    return Node(one.op_type, name, tuple(one.input), tuple(one.output), attributes)


def _in_one_dtype(
    weights: Mapping[str, Tensor], constants: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """All floating point numbers in the most precise type among them; weights as parameters."""
    floats = [x for x in (*weights.values(), *constants.values()) if x.is_floating_point()]
    widest = reduce(torch.promote_types, (x.dtype for x in floats), torch.float16)
    tensors = {
        name: x.to(widest) if x.is_floating_point() else x
        for name, x in (*weights.items(), *constants.items())
    }
    return {
        name: nn.Parameter(x) if name in weights and x.is_floating_point() else x
        for name, x in tensors.items()
    }


def _input_dimension(value: "ValueInfoProto") -> int | None:
    sides = value.type.tensor_type.shape.dim
    shape = [side.dim_value if side.HasField("dim_value") else None for side in sides]
    if len(shape) != 2 or (shape[0] or 1) != 1:
        raise InputError(
            f"the graph is for inputs of shape {shape}; export it with points [1, d] or, better, "
            "with a free number of points (dynamic_axes or dynamic_shapes)"
        )
    return shape[1]


def _for_every_point(value: Tensor, declared: "ValueInfoProto") -> Tensor:
    """With a dimension for the points in front, if the graph has one."""
    rank = len(declared.type.tensor_type.shape.dim)
    return value[None] if value.ndim == rank - 1 else value


def _tensor(value: "TensorProto") -> Tensor:
    from onnx import numpy_helper

    array = numpy_helper.to_array(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _attribute(attribute: "AttributeProto") -> Any:
    from onnx import AttributeProto, TensorProto, helper

    value = helper.get_attribute_value(attribute)
    if attribute.name == "to":
        return _tensor(TensorProto(data_type=value, dims=[0])).dtype
    if attribute.type == AttributeProto.TENSOR:
        return _tensor(value)
    if attribute.type == AttributeProto.INTS:
        return list(value)
    return value.decode() if isinstance(value, bytes) else value


def _constant(node: Node) -> Tensor:
    (name, value), *more = node.attributes.items()
    if more or name.startswith(("sparse", "value_string")):
        raise InputError(f"node {node.name!r}: a constant with {name} is not known here")
    return torch.as_tensor(value)


def _attribute_names(names: list[str]) -> dict[str, str]:
    """Different names that torch and Python allow."""
    taken: dict[str, str] = {}
    for name in dict.fromkeys(names):
        plain = "value_" + re.sub(r"\W", "_", name)
        while plain in taken.values():
            plain += "_"
        taken[name] = plain
    return taken


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
