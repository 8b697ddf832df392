"""ONNX graphs: each operator against the onnx package's own evaluator, and exports of PyTorch."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapeopt
from shapeopt.errors import InputError
from shapeopt.networks.affine import evaluate
from shapeopt.networks.reading import check_reading, read_network

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

BOX = -torch.ones(3), torch.ones(3)
WEIGHTS = np.random.default_rng(0).normal(size=(8, 3)).round(2)

GRAPHS = {
    "Relu, Neg": "a = Relu(z)  b = Neg(a)  y = Add(b, z)",
    "Sub, Mul, Div": "a = Sub(half, z)  b = Mul(a, half)  c = Relu(b)  y = Div(c, half)",
    "Gemm, all of it": "a = Relu(z)  y = Gemm<alpha=2.0, beta=0.5, transB=1>(a, square, eight)",
    "MatMul": "a = Relu(z)  y = MatMul(a, square)",
    "LeakyRelu": "y = LeakyRelu<alpha=0.3>(z)",
    "LeakyRelu by default": "y = LeakyRelu(z)",
    "PRelu": "y = PRelu(z, eight)",
    "Abs": "y = Abs(z)",
    "Clip, inputs": "y = Clip(z, low, half)",
    "Clip, one input": "y = Clip(z, , half)",
    "Clip, attributes": "10: y = Clip<min=-0.3, max=0.4>(z)",
    "Max, Min of three": "a = Neg(z)  b = Max(z, a, half)  c = Min(a, eight, z)  y = Add(b, c)",
    "ReduceMax": "18: y = ReduceMax(z, one)",
    "ReduceMin, attribute": "13: a = ReduceMin<axes=[1], keepdims=0>(z)  y = Unsqueeze(a, one)",
    "ReduceSum": "a = Relu(z)  y = ReduceSum<keepdims=1>(a, one)",
    "ReduceSum, attribute": "11: a = Relu(z)  y = ReduceSum<axes=[-1]>(a)",
    "ReduceMean": "18: a = Relu(z)  y = ReduceMean(a, one)",
    "ReduceMax of nothing": "18: y = ReduceMax<noop_with_empty_axes=1>(z)",
    "MaxPool": "a = Unsqueeze(z, one)  b = MaxPool<kernel_shape=[3], strides=[2], pads=[1, 1]>(a)"
    "  y = Squeeze(b, one)",
    "AveragePool": "a = Relu(z)  b = Unsqueeze(a, one)  c = AveragePool<kernel_shape=[3], "
    "pads=[1, 1]>(b)  y = Squeeze(c, one)",
    "AveragePool, padding counted": "a = Relu(z)  b = Unsqueeze(a, one)  c = AveragePool"
    "<kernel_shape=[3], pads=[1, 1], count_include_pad=1>(b)  y = Squeeze(c, one)",
    "GlobalMaxPool": "a = Unsqueeze(z, one)  b = GlobalMaxPool(a)  y = Flatten(b)",
    "GlobalAveragePool": "r = Relu(z)  a = Unsqueeze(r, one)  b = GlobalAveragePool(a)  "
    "y = Flatten(b)",
    "Conv": "r = Relu(z)  a = Unsqueeze(r, one)  b = Conv<strides=[2], pads=[0, 1], "
    "dilations=[2]>(a, kernel, two)  y = Flatten(b)",
    "Reshape": "r = Relu(z)  a = Reshape(r, sides)  b = Transpose<perm=[0, 2, 1]>(a)  "
    "y = Flatten(b)",
    "Flatten with another axis": "r = Relu(z)  a = Flatten<axis=-1>(r)  y = Mul(a, half)",
    "Squeeze, attribute": "11: a = Unsqueeze<axes=[1, -1]>(z)  b = Relu(a)  "
    "y = Squeeze<axes=[-1, 1]>(b)",
    "Concat": "a = Relu(z)  y = Concat<axis=-1>(a, x, z)",
    "Slice": "a = Relu(z)  y = Slice(a, one, seven, one, two_whole)",
    "Slice backwards": "a = Relu(z)  y = Slice(a, seven, first, one, back)",
    "Slice, attributes": "9: a = Relu(z)  y = Slice<axes=[1], starts=[-3], ends=[100]>(a)",
    "Gather": "a = Relu(z)  y = Gather<axis=1>(a, some)",
    "Gather, one of them": "a = Relu(z)  b = Gather<axis=1>(a, seven0)  y = Unsqueeze(b, one)",
    "Split": "a, b = Split<axis=1>(z, parts)  c = Relu(b)  y = Concat<axis=1>(c, a)",
    "Split in equal parts": "18: a, b = Split<axis=1, num_outputs=2>(z)  c = Relu(b)  "
    "y = Add(a, c)",
    "Split, attribute": "11: a, b = Split<axis=1, split=[2, 6]>(z)  c = Relu(b)  "
    "y = Concat<axis=1>(c, a)",
    "Identity, Cast, Dropout": "a = Cast<to=1>(z)  b = Identity(a)  c = Dropout(b)  y = Relu(c)",
    "shapes": "s = Shape(x)  n = Gather(s, zero)  m = Unsqueeze(n, zero1)  t = Concat<axis=0>(m, "
    "two1)  e = Expand(code, t)  c = Concat<axis=1>(x, e)  y = Relu(c)",
    "ConstantOfShape, Where": "s = Constant<value = int64[2] {1, 2}>()  "
    "o = ConstantOfShape<value = int64[1] {1}>(s)  q = Equal(o, zero)  w = Where(q, half, low)  "
    "r = Concat<axis=1>(w, w, w, w)"
    "  a = Add(z, r)  y = Relu(a)",
    "weights that are computed": "n = ReduceL2<axes=[1]>(square)  w = Div(square, n)  v = Sqrt(n)  "
    "u = Transpose(v)  a = MatMul(z, w)  b = Add(a, u)  y = Relu(b)",
    "BatchNormalization": "a = BatchNormalization<epsilon=0.01>(z, eight, eight, eight, positive)  "
    "y = Relu(a)",
    "HardSigmoid": "y = HardSigmoid<alpha=0.4>(z)",
    "Tanh at the end": "a = Relu(z)  y = Tanh(a)",
    "Sigmoid at the end": "a = Relu(z)  b = Sigmoid(a)  y = Sub(b, half)",
}
VALUES = {
    "half": ("float[1]", [0.5]),
    "low": ("float[1]", [-0.25]),
    "two": ("float[2]", [0.5, -1]),
    "eight": ("float[8]", np.linspace(-0.7, 0.9, 8)),
    "positive": ("float[8]", np.linspace(0.3, 0.9, 8)),
    "square": ("float[8,8]", np.random.default_rng(1).normal(size=64).round(2)),
    "kernel": ("float[2,1,2]", [1, -2, 0.5, 0.25]),
    "code": ("float[1,2]", [0.3, -0.2]),
    "one": ("int64[1]", [1]),
    "zero": ("int64", [0]),
    "zero1": ("int64[1]", [0]),
    "two1": ("int64[1]", [2]),
    "two_whole": ("int64[1]", [2]),
    "seven": ("int64[1]", [7]),
    "seven0": ("int64", [-1]),
    "first": ("int64[1]", [-100]),
    "back": ("int64[1]", [-2]),
    "some": ("int64[3]", [4, 0, -1]),
    "parts": ("int64[2]", [2, 6]),
    "sides": ("int64[3]", [0, 2, -1]),
    "w": ("float[8,3]", WEIGHTS.flatten()),
}


def saved(text: str, path) -> str:
    """The graph with the values that it names, after a linear map z of x, in a file."""
    version, _, body = text.rpartition(": ")
    body = "z = Gemm<transB=1>(x, w0, eight)  " + body
    values = ", ".join(
        f"{kind} {name} = {{{', '.join(map(str, numbers))}}}"
        for name, (kind, numbers) in VALUES.items()
        if name != "w"
    )
    weights = f"float[8,3] w0 = {{{', '.join(map(str, WEIGHTS.flatten()))}}}"
    source = (
        f'<ir_version: 8, opset_import: ["" : {version or 17}]> graph (float[N,3] x) => '
        f"(float[N,M] y) <{weights}, {values}> {{ {body} }}"
    )
    model = onnx.parser.parse_model(source)
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("name", GRAPHS)
def test_each_operator_is_that_of_onnx(name, tmp_path):
    path = saved(GRAPHS[name], tmp_path / "graph.onnx")
    network = shapeopt.load_network(path)
    points = torch.rand(20, 3) * 4 - 2
    (expected,) = ReferenceEvaluator(path).run(None, {"x": points.numpy()})
    expected = torch.from_numpy(expected.copy())
    torch.testing.assert_close(network(points).detach(), expected)
    reading = read_network(network)
    check_reading(network, reading, *BOX)
    read = evaluate(reading.layers, points.double())
    if reading.outer is not None:
        read = reading.outer.outside(read + reading.outer.level())
    torch.testing.assert_close(read.float(), expected, atol=1e-5, rtol=1e-5)


class DeepSDF(nn.Module):
    """Small, of that shape: a skip, a latent code, weight norm and a last tanh."""

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first, self.second = norm(nn.Linear(7, 12)), norm(nn.Linear(12, 9))
        self.third, self.last = norm(nn.Linear(16, 12)), nn.Linear(12, 1)
        self.latent = nn.Parameter(torch.randn(1, 4))

    def forward(self, x):
        inputs = torch.cat([self.latent.expand(x.shape[0], -1), x], dim=1)
        values = F.relu(self.second(F.relu(self.first(inputs))))
        values = F.relu(self.third(torch.cat([values, inputs], dim=1)))
        return torch.tanh(self.last(values))


class MaxOfPlanes(nn.Module):
    def __init__(self):
        super().__init__()
        self.planes = nn.Linear(3, 7)

    def forward(self, x):
        return torch.amax(self.planes(x), dim=1, keepdim=True)


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.conv = nn.Linear(3, 12), nn.Conv2d(1, 2, 2)
        self.pool, self.last = nn.MaxPool2d(2, stride=1), nn.Linear(4, 1)

    def forward(self, x):
        image = self.first(x).view(-1, 1, 3, 4)
        return self.last(self.pool(F.relu(self.conv(image))).flatten(1))


def through_the_origin(kind) -> nn.Module:
    """With a surface in the box."""
    torch.manual_seed(1)
    network = kind().eval()
    with torch.no_grad():
        if kind is MaxOfPlanes:
            network.planes.bias.fill_(-0.3)
        else:
            network.last.bias.sub_(torch.atanh(network(torch.zeros(1, 3)).clamp(-0.9, 0.9))[0])
    return network


def exported(network: nn.Module, path, is_new: bool) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = {"dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]}
        if is_new:
            free = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "verbose": False}
        torch.onnx.export(network, (torch.zeros(2, 3),), path, dynamo=is_new, **free)
    return str(path)


def assert_same_surface(one, two) -> None:
    """In counts, and each vertex near one of the other."""
    assert (one.num_vertices, one.num_edges, one.num_faces) == (
        two.num_vertices,
        two.num_edges,
        two.num_faces,
    )
    apart = torch.cdist(one.vertices.detach().double(), two.vertices.detach().double())
    assert max(apart.amin(dim=0).max(), apart.amin(dim=1).max()) < 1e-4


@pytest.mark.parametrize("kind", [DeepSDF, MaxOfPlanes, Convolution])
def test_the_surface_of_an_export_is_that_of_the_module(kind, tmp_path):
    network = through_the_origin(kind)
    loaded = shapeopt.load_network(exported(network, tmp_path / "net.onnx", is_new=False))
    corners = ([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])
    network.input_dimension = 3
    expected = shapeopt.extract_surface(network, corners)
    surface = shapeopt.extract_surface(loaded, corners)
    assert surface.num_faces >= 4
    assert_same_surface(surface, expected)
    surface.area().backward()
    assert all(p.grad is not None for p in loaded.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DeepSDF, MaxOfPlanes, Convolution])
def test_so_is_that_of_the_new_exporter(kind, tmp_path):
    pytest.importorskip("onnxscript")
    network = through_the_origin(kind)
    path = exported(network, tmp_path / "net.onnx", is_new=True)
    network.input_dimension = 3
    surface = shapeopt.extract_surface(shapeopt.load_network(path), (-1, 1))
    assert_same_surface(surface, shapeopt.extract_surface(network, (-1, 1)))
    runtime = pytest.importorskip("onnxruntime").InferenceSession(path)
    points = torch.rand(30, 3) - 0.5
    (run,) = runtime.run(None, {runtime.get_inputs()[0].name: points.numpy()})
    torch.testing.assert_close(torch.from_numpy(run), network(points).detach())


def test_a_latent_code_may_be_an_input(tmp_path):
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> graph (float[N,2] code, float[N,3] x) => '
        "(float[N,5] y, float[N,5] z) { z = Concat<axis=1>(code, x)  y = Relu(z) }"
    )
    path = tmp_path / "graph.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    code = torch.tensor([1.0, -2.0])
    network = shapeopt.load_network(path, inputs={"code": code}, output="y")
    values = network(torch.tensor([[3.0, -4.0, 5.0], [0.0, 1.0, -1.0]]))
    assert values.tolist() == [[1, 0, 3, 0, 5], [1, 0, 0, 1, 0]]
    with pytest.raises(InputError, match=r"inputs are 'code', 'x'; give all but the points"):
        shapeopt.load_network(path, output="y")
    with pytest.raises(InputError, match=r"outputs are y, z; give output="):
        shapeopt.load_network(path, inputs={"code": code})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("y = Softplus(z)", r"'value_y' \(Softplus\).*not known to be piecewise affine"),
        ("y = Mul(z, z)", r"node 'Mul_1' \(Mul\): .*both depend on the inputs"),
        ("a = Tanh(z)  y = Relu(a)", r"node 'Relu_2' \(Relu\): relu follows tanh"),
        ("a = Cast<to=7>(z)  y = Cast<to=1>(a)", r"node 'Cast_1' \(Cast\): .*is made torch.int64"),
        ("y = Exp(z)", "node 'Exp_1'.*exp is not known to be piecewise affine"),
    ],
)
def test_what_is_not_piecewise_affine_is_named(graph, message, tmp_path):
    network = shapeopt.load_network(saved(graph, tmp_path / "graph.onnx"))
    with pytest.raises(InputError, match=message):
        read_network(network)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("y = Det(z)", r"node 'Det_1' \(Det\) is not known here"),
        ("6: y = Relu(z)", "opset is 6"),
    ],
)
def test_what_is_not_known_is_refused(graph, message, tmp_path):
    path = tmp_path / "graph.onnx"
    if "6:" in graph:
        text = '<ir_version: 8, opset_import: ["" : 6]> g (float[N,3] x) => (float[N,3] y) '
        onnx.save(onnx.parser.parse_model(text + "{ y = Relu(x) }"), path)
    else:
        saved(graph, path)
    with pytest.raises(InputError, match=message):
        shapeopt.load_network(path)


def test_a_graph_for_several_points_at_once_is_refused(tmp_path):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[5,3] x) => (float[5,3] y) '
    onnx.save(onnx.parser.parse_model(text + "{ y = Relu(x) }"), tmp_path / "graph.onnx")
    with pytest.raises(InputError, match=r"inputs of shape \[5, 3\]; export it with points"):
        shapeopt.load_network(tmp_path / "graph.onnx")
    (tmp_path / "text.onnx").write_text("no graph at all")
    with pytest.raises(InputError, match=r"text\.onnx is no ONNX file, or damaged"):
        shapeopt.load_network(tmp_path / "text.onnx")
