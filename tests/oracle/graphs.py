"""Random graphs of piecewise-affine units, in two readings: as a module, and in exact arithmetic.

``generate(seed)`` makes a :class:`Graph`. It runs in torch like any module, and
:class:`ExactGraph` runs it on integers for :mod:`tests.oracle.exact`, with the units' parameters as
the rationals that the floats are. The two have nothing but these parameters in common, and neither
knows how networks are read.

An exact value is an integer over a power of two that is the same at all points, and over the w of
the point (x, y, z, w): so 1 is w, and what units do to values costs shifts and multiplications.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.oracle.exact import ExactNetwork, Point

Rng = np.random.Generator

GRAIN = 2.0**-10
"""Weights are multiples of this: in general position but for accidents, and cheap."""

BUDGET = {2: 36, 3: 20}
"""Folds of a graph, by its dimension."""


@dataclass
class Exact:
    """The values ``numbers / (2^bits one)``."""

    numbers: list[int]
    bits: int
    one: int

    def at(self, bits: int) -> list[int]:
        """The numbers with at least as many bits as it has."""
        return [number << (bits - self.bits) for number in self.numbers]


Folds = list[int]
"""Arguments of folds so far, times positive factors that are the same at all points."""

Run = Callable[[Sequence[Exact], Folds], Exact]


class Unit(nn.Module):
    """A piecewise-affine function of one or more values ``[n, k]``.

    Attributes:
        width: numbers in the result.
        folds: arguments of folds that it adds.
        has_free_order: whether torch does not say in which order it folds.
    """

    width: int
    folds: int = 0
    has_free_order: bool = False

    def exact(self) -> Run:
        """The same function of exact values; it appends the arguments of its folds."""
        raise NotImplementedError


class Affine(Unit):
    """``nn.Linear``."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray):
        super().__init__()
        self.width = len(bias)
        self.map = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        self.map.weight.data, self.map.bias.data = torch.tensor(weight), torch.tensor(bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x)

    def exact(self) -> Run:
        rows = torch.cat([self.map.weight, self.map.bias[:, None]], dim=1)
        (matrix, bits) = integers(rows)

        def run(values: Sequence[Exact], _: Folds) -> Exact:
            (x,) = values
            terms = [*x.numbers, x.one << x.bits]
            sums = [sum(map(int.__mul__, row, terms)) for row in matrix]
            return Exact(sums, x.bits + bits, x.one)

        return run


class Norm(Unit):
    """``nn.BatchNorm1d`` in eval mode, with deviations that are powers of two."""

    def __init__(self, rng: Rng, width: int):
        super().__init__()
        self.width = width
        self.norm = nn.BatchNorm1d(width, eps=0.0, dtype=torch.float64).eval()
        self.norm.weight.data = torch.tensor(grains(rng, width) + 0.5)
        self.norm.bias.data = torch.tensor(grains(rng, width))
        self.norm.running_mean = torch.tensor(grains(rng, width))
        self.norm.running_var = torch.tensor(rng.choice([0.25, 1.0, 4.0], width))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def exact(self) -> Run:
        norm = self.norm
        factor = norm.weight / norm.running_var.sqrt()
        # Exact in floats: numbers of a few bits.
        pairs, bits = integers(torch.stack([factor, norm.bias - norm.running_mean * factor], dim=1))

        def run(values: Sequence[Exact], _: Folds) -> Exact:
            (x,) = values
            one = x.one << x.bits
            numbers = [a * z + b * one for (a, b), z in zip(pairs, x.numbers, strict=True)]
            return Exact(numbers, x.bits + bits, x.one)

        return run


class Add(Unit):
    """Sum, or difference, of two values: a residual connection."""

    def __init__(self, width: int, sign: int):
        super().__init__()
        self.width, self.sign = width, sign

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y if self.sign > 0 else x - y

    def exact(self) -> Run:
        def run(values: Sequence[Exact], _: Folds) -> Exact:
            x, y = values
            bits = max(x.bits, y.bits)
            numbers = [a + self.sign * b for a, b in zip(x.at(bits), y.at(bits), strict=True)]
            return Exact(numbers, bits, x.one)

        return run


class Join(Unit):
    """Concatenation."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, dim=-1)

    def exact(self) -> Run:
        def run(values: Sequence[Exact], _: Folds) -> Exact:
            bits = max(value.bits for value in values)
            return Exact([a for value in values for a in value.at(bits)], bits, values[0].one)

        return run


class Latent(Unit):
    """Concatenation with a constant code."""

    def __init__(self, width: int, code: np.ndarray):
        super().__init__()
        self.width = width + len(code)
        self.code = nn.Parameter(torch.tensor(code))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.code.expand(len(x), -1), x], dim=1)

    def exact(self) -> Run:
        code, bits = integers(self.code)

        def run(values: Sequence[Exact], _: Folds) -> Exact:
            (x,) = values
            at = max(bits, x.bits)
            constant = [(a * x.one) << (at - bits) for a in code]
            return Exact([*constant, *x.at(at)], at, x.one)

        return run


class Slice(Unit):
    """Some of the numbers."""

    def __init__(self, part: slice, width: int):
        super().__init__()
        self.part, self.width = part, len(range(width)[part])

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.part]

    def exact(self) -> Run:
        return lambda values, _: Exact(values[0].numbers[self.part], values[0].bits, values[0].one)


class Average(Unit):
    """Means of neighbours."""

    def __init__(self, width: int, group: int):
        super().__init__()
        self.width, self.group = width // group, group

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(x[:, None], self.group).squeeze(1)

    def exact(self) -> Run:
        group = self.group

        def run(values: Sequence[Exact], _: Folds) -> Exact:
            (x,) = values
            sums = [sum(x.numbers[i : i + group]) for i in range(0, group * self.width, group)]
            return Exact(sums, x.bits + group.bit_length() - 1, x.one)

        return run


class Leaky(Unit):
    """Slope 1 above 0, and a slope for each number below: ReLU, leaky ReLU, PReLU and |z|."""

    def __init__(self, rng: Rng, width: int, name: str):
        super().__init__()
        self.width = self.folds = width
        self.name = name
        self.leak = float(rng.choice([0.25, 0.125, -0.5]))
        self.slope = nn.Parameter(torch.tensor(grains(rng, width))) if name == "prelu" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.name == "prelu":
            return F.prelu(x, self.slope)
        return {"relu": F.relu, "abs": torch.abs, "leaky": lambda z: F.leaky_relu(z, self.leak)}[
            self.name
        ](x)

    def exact(self) -> Run:
        slope = {"relu": 0.0, "abs": -1.0, "leaky": self.leak}.get(self.name, self.slope)
        slopes, bits = integers(torch.as_tensor(slope).expand(self.width))

        def run(values: Sequence[Exact], folds: Folds) -> Exact:
            (x,) = values
            folds += x.numbers
            numbers = [
                z << bits if z > 0 else a * z for a, z in zip(slopes, x.numbers, strict=True)
            ]
            return Exact(numbers, x.bits + bits, x.one)

        return run


class Between(Unit):
    """Clamps between two bounds, and softshrink, which is what they leave over."""

    def __init__(self, rng: Rng, width: int, name: str):
        super().__init__()
        self.width, self.folds = width, 2 * width
        self.name = name
        low, high = np.sort(rng.integers(-64, 65, 2)) / 128 + [0, 1 / 128]
        self.low, self.high = {
            "relu6": (0.0, 0.75),
            "softshrink": (-abs(high) - GRAIN, abs(high) + GRAIN),
        }.get(name, (low, high))

    def forward(self, x: Tensor) -> Tensor:
        return {
            "relu6": lambda: F.relu6(8 * x) / 8,
            "hardtanh": lambda: F.hardtanh(x, self.low, self.high),
            "clamp": lambda: x.clamp(self.low, self.high),
            "softshrink": lambda: F.softshrink(x, self.high),
        }[self.name]()

    def exact(self) -> Run:
        bounds, bits = integers(torch.tensor([self.low, self.high], dtype=torch.float64))

        def run(values: Sequence[Exact], folds: Folds) -> Exact:
            (x,) = values
            at = max(bits, x.bits)
            low, high = ((bound * x.one) << (at - bits) for bound in bounds)
            numbers = x.at(at)
            folds += [z - bound for z in numbers for bound in (low, high)]
            inside = [min(max(z, low), high) for z in numbers]
            if self.name == "softshrink":
                inside = [z - part for z, part in zip(numbers, inside, strict=True)]
            return Exact(inside, at, x.one)

        return run


class Extreme(Unit):
    """Maxima, or minima, of neighbours, in one of the ways that torch has for them."""

    def __init__(self, rng: Rng, width: int, group: int):
        super().__init__()
        self.width, self.group = width // group, group
        self.folds = (group - 1) * self.width
        self.sign = int(rng.choice([-1, 1]))
        ways = ["chain", "reduced", "along", "pool"] if self.sign > 0 else ["chain", "reduced"]
        self.way = str(rng.choice(ways))
        self.has_free_order = group > 2 and self.way != "chain"

    def forward(self, x: Tensor) -> Tensor:
        grouped = x[:, : self.group * self.width].view(-1, self.width, self.group)
        if self.way == "pool":
            return F.max_pool1d(x[:, None], self.group).squeeze(1)
        if self.way == "along":
            return grouped.max(dim=2).values
        if self.way == "reduced":
            return grouped.amax(2) if self.sign > 0 else grouped.amin(2)
        best, *others = grouped.unbind(2)
        for other in others:
            best = (torch.maximum if self.sign > 0 else torch.minimum)(best, other)
        return best

    def exact(self) -> Run:
        def run(values: Sequence[Exact], folds: Folds) -> Exact:
            (x,) = values
            found = []
            for i in range(0, self.group * self.width, self.group):
                best, *others = x.numbers[i : i + self.group]
                for other in others:
                    folds.append(best - other)
                    best = max(best, other) if self.sign > 0 else min(best, other)
                found.append(best)
            return Exact(found, x.bits, x.one)

        return run


class Graph(nn.Module):
    """Units, each of which takes earlier values; value 0 is the input, the last one the output.

    Attributes:
        dimension: of the input.
        units: in the order they run in.
        wires: the values that each unit takes.
    """

    def __init__(self, dimension: int):
        super().__init__()
        self.dimension = dimension
        self.units = nn.ModuleList()
        self.wires: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for unit, wires in zip(self.units, self.wires, strict=True):
            values.append(unit(*(values[i] for i in wires)))
        return values[-1]

    def add(self, unit: Unit, *wires: int) -> int:
        """Appends a unit; returns the number of its value."""
        self.units.append(unit)
        self.wires.append(wires)
        return len(self.units)

    def width(self, value: int) -> int:
        """Numbers of a value."""
        return self.units[value - 1].width if value else self.dimension

    @property
    def used(self) -> list[int]:
        """The units that the output depends on, in order."""
        used = {len(self.units)}
        for number in range(len(self.units), 0, -1):
            if number in used:
                used.update(self.wires[number - 1])
        return sorted(number - 1 for number in used if number)

    @property
    def num_folds(self) -> int:
        """Of the units that are used."""
        return sum(self.units[unit].folds for unit in self.used)

    @property
    def has_free_order(self) -> bool:
        """Whether the folds depend on how maxima are taken; the output never does."""
        return any(self.units[unit].has_free_order for unit in self.used)


class ExactGraph(ExactNetwork):
    """A graph in exact arithmetic, for :func:`tests.oracle.exact.exact_surface`."""

    def __init__(self, graph: Graph):
        self.dimension = graph.dimension
        self.widths = [graph.num_folds, 1]
        self.steps = [
            (unit + 1, graph.wires[unit], graph.units[unit].exact()) for unit in graph.used
        ]

    def values_at(self, point: Point) -> list[int]:
        """Arguments of all folds, each affine where those before it do not change sign, and the
        output; times positive factors."""
        *inputs, one = point
        values = {0: Exact(inputs, 0, one)}
        folds: Folds = []
        for number, wires, run in self.steps:
            values[number] = run([values[i] for i in wires], folds)
        return [*folds, *values[number].numbers]


def integers(numbers: Tensor) -> tuple[list, int]:
    """Floats as integers over 2 to one power: nested like the tensor, and the exponent."""
    exact = [Fraction(x) for x in numbers.detach().double().flatten().tolist()]
    bits = max(x.denominator.bit_length() - 1 for x in exact)
    found = np.array([int(x * 2**bits) for x in exact], dtype=object)
    return found.reshape(numbers.shape).tolist(), bits


def grains(rng: Rng, *shape: int) -> np.ndarray:
    """Normal numbers, rounded to the grain."""
    return np.round(rng.normal(size=shape) / GRAIN) * GRAIN


def generate(seed: int, dimension: int | None = None) -> Graph:
    """The graph of a seed, float64, with f = 0 somewhere in [-1, 1]."""
    rng = np.random.default_rng([0x62A9, seed])
    graph = Graph(dimension or int(rng.integers(2, 4)))
    if rng.random() < 0.3:
        graph.add(Latent(graph.dimension, grains(rng, 2)), 0)
    _affine(rng, graph, len(graph.units))
    for _ in range(int(rng.integers(4, 13))):
        last = len(graph.units)
        source = last if rng.random() < 0.7 else int(rng.integers(last + 1))
        STEPS[int(rng.integers(len(STEPS)))](rng, graph, source)
    last = len(graph.units)
    other = int(rng.integers(last))
    if graph.width(last) + graph.width(other) <= 10:
        last = graph.add(Join(graph.width(last) + graph.width(other)), last, other)
    ends = int(rng.choice([1, 1, 2, 3, 4, 5, 6]))
    last = graph.add(_affine_of(rng, graph.width(last), ends), last)
    if ends > 1:
        last = graph.add(Extreme(rng, ends, ends), last)
    points = torch.tensor(rng.uniform(-1, 1, (256, graph.dimension)))
    with torch.no_grad():
        middle = float(np.quantile(np.unique(graph(points).numpy()), rng.uniform(0.2, 0.8)))
    sign = rng.choice([-1.0, 1.0])
    shift = np.round(middle / GRAIN) * GRAIN
    graph.add(Affine(np.array([[sign]]), np.array([-sign * shift])), last)
    return graph.eval().requires_grad_()


def _affine_of(rng: Rng, width: int, out: int) -> Affine:
    return Affine(
        np.round(grains(rng, out, width) / width**0.5 / GRAIN) * GRAIN, grains(rng, out) / 2
    )


def _affine(rng: Rng, graph: Graph, source: int) -> None:
    graph.add(_affine_of(rng, graph.width(source), int(rng.integers(2, 7))), source)


def _with_folds(rng: Rng, graph: Graph, unit: Unit, source: int) -> None:
    """Adds the unit unless it has more folds than are left."""
    if sum(other.folds for other in graph.units) + unit.folds <= BUDGET[graph.dimension]:
        graph.add(unit, source)


def _leaky(rng: Rng, graph: Graph, source: int) -> None:
    name = str(rng.choice(["relu", "relu", "leaky", "prelu", "abs"]))
    _with_folds(rng, graph, Leaky(rng, graph.width(source), name), source)


def _between(rng: Rng, graph: Graph, source: int) -> None:
    name = str(rng.choice(["relu6", "hardtanh", "clamp", "softshrink"]))
    _with_folds(rng, graph, Between(rng, graph.width(source), name), source)


def _extreme(rng: Rng, graph: Graph, source: int) -> None:
    if (width := graph.width(source)) > 1:
        group = int(rng.integers(2, min(width, 6) + 1))
        _with_folds(rng, graph, Extreme(rng, width, group), source)


def _average(rng: Rng, graph: Graph, source: int) -> None:
    if graph.width(source) > 2:
        graph.add(Average(graph.width(source), 2), source)


def _norm(rng: Rng, graph: Graph, source: int) -> None:
    graph.add(Norm(rng, graph.width(source)), source)


def _slice(rng: Rng, graph: Graph, source: int) -> None:
    if (width := graph.width(source)) > 2:
        part = slice(int(rng.integers(2)), None, int(rng.integers(1, 3)))
        graph.add(Slice(part, width), source)


def _residual(rng: Rng, graph: Graph, source: int) -> None:
    width = graph.width(source)
    others = [i for i in range(len(graph.units) + 1) if i != source and graph.width(i) == width]
    if others:
        graph.add(Add(width, int(rng.choice([-1, 1]))), source, int(rng.choice(others)))


def _join(rng: Rng, graph: Graph, source: int) -> None:
    other = int(rng.integers(len(graph.units) + 1))
    width = graph.width(source) + graph.width(other)
    if width <= 8:
        graph.add(Join(width), source, other)


def _latent(rng: Rng, graph: Graph, source: int) -> None:
    if graph.width(source) <= 6:
        graph.add(Latent(graph.width(source), grains(rng, 2)), source)


STEPS = [
    *[_affine] * 4,
    *[_leaky] * 5,
    *[_between] * 3,
    *[_extreme] * 3,
    *[_residual] * 4,
    _average,
    _norm,
    _slice,
    _join,
    _latent,
]
"""Ways to go on, each as often as it is likely."""
