"""What holds for every network: drawn by hypothesis, many shapes, boxes, scales and dtypes.

``pytest -m campaign`` draws thousands for each property, others every time; the fast part a few,
the same every time.
"""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import shapeopt
from shapeopt import EmptySurfaceError, InputError, PolyhedralSurface
from tests.brute_force import brute_force_counts
from tests.extraction.tracing.comparing import assert_same, cells
from tests.oracle.generators import Case
from tests.oracle.judge import Truth, verdicts

BOXES = {
    "unit": (0.0, 1.0),
    "off the centre": (np.array([3.0, -7.0, 0.5]), 1.0),
    "far": (np.array([900.0, -500.0, 0.0]), 1.0),
    "tall": (0.0, np.array([1.0, 0.125, 64.0])),
    "tiny": (0.0, 1e-6),
    "huge": (np.array([2e5, 0.0, -1e6]), 1e6),
}
"""Middle and half sides."""


@dataclass(frozen=True)
class Drawn:
    """A network in general position but for accidents, its folds and f = 0 through its box.

    Attributes:
        sizes: from input to output.
        seed: of the weights.
        scales: powers of ten of the layers' weights.
        box: a name.
        dtype: of the network.
    """

    sizes: tuple[int, ...]
    seed: int
    scales: tuple[int, ...]
    box: str = "unit"
    dtype: torch.dtype = torch.float64

    def case(self) -> Case:
        """The network and its box."""
        rng = np.random.default_rng(self.seed)
        layers = [
            [rng.normal(size=(b, a)) / np.sqrt(a), rng.normal(size=b) * 0.4]
            for a, b in pairwise(self.sizes)
        ]
        values = rng.uniform(-1, 1, (500, self.sizes[0]))
        for weight, bias in layers[:-1]:
            values = np.maximum(values @ weight.T + bias, 0)
        values = values @ layers[-1][0].T + layers[-1][1]
        assume(values.max() > values.min() + 1e-3)
        # Not the median, which is that of a region where f is constant if there is a large one.
        layers[-1][1] -= 0.4 * values.min() + 0.6 * values.max()
        middle, half = (
            x[: self.sizes[0]] if np.ndim(x) else np.full(self.sizes[0], x) for x in BOXES[self.box]
        )
        layers[0][0] = layers[0][0] / half
        layers[0][1] = layers[0][1] - layers[0][0] @ middle
        factors = 10.0 ** np.array(self.scales, dtype=float)
        modules: list[nn.Module] = []
        for (weight, bias), factor, so_far in zip(
            layers, factors, np.cumprod(factors), strict=True
        ):
            linear = nn.Linear(weight.shape[1], len(weight), dtype=self.dtype)
            linear.weight.data = torch.tensor(weight * factor, dtype=self.dtype)
            linear.bias.data = torch.tensor(bias * so_far, dtype=self.dtype)
            modules += [linear, nn.ReLU()]
        ends = [torch.tensor(x, dtype=self.dtype).tolist() for x in (middle - half, middle + half)]
        return Case("drawn", self.seed, nn.Sequential(*modules[:-1]), *ends)


@st.composite
def networks(draw: st.DrawFn, dimensions: tuple[int, ...] = (2, 3)) -> Drawn:
    widths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    # The oracle takes seconds for three layers of six.
    assume(np.prod(widths) <= 75)
    return Drawn(
        (draw(st.sampled_from(dimensions)), *widths, 1),
        draw(st.integers(0, 2**31)),
        tuple(draw(st.integers(-6, 6)) for _ in [*widths, 1]),
        draw(st.sampled_from(sorted(BOXES))),
        draw(st.sampled_from([torch.float64, torch.float32])),
    )


def surface_of(case: Case, **options) -> PolyhedralSurface:
    """By subdivision unless the options differ; another network is drawn if f has no zero."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "edge subdivision was used")
        try:
            return shapeopt.extract_surface(case.network, case.bounds, **options)
        except EmptySurfaceError:
            assume(False)
            raise


def in_units(case: Case, surface: PolyhedralSurface) -> torch.Tensor:
    """Vertices from the middle of the box, by half its sides."""
    lower, upper = torch.tensor(case.bounds, dtype=torch.float64)
    return (surface.vertices.double() - (lower + upper) / 2) / ((upper - lower) / 2)


def in_float64(drawn: Drawn) -> Drawn:
    return dataclasses.replace(drawn, dtype=torch.float64)


# Properties of a drawn network


def every_extractor_has_the_exact_surface(drawn: Drawn) -> None:
    """Its area, places, winding and borders, and with caps its volume."""
    wrong = {
        name: verdict
        for name, verdict in verdicts(drawn.case()).items()
        if verdict.outcome != "right" and (name != "tracing" or verdict.fault != "missed part")
    }
    assert not wrong, wrong


def cells_are_the_exact_ones(drawn: Drawn) -> None:
    """As many vertices, edges and polygons as in exact arithmetic, with all folds."""
    case = drawn.case()
    truth = Truth(case)
    surface = surface_of(case, all_folds=True)
    # What is shorter than rounding is contracted: only where nothing is can one count.
    polygons = truth.exact.polygons
    places = [truth.exact.places(polygon) for polygon in polygons]
    ends = [np.roll(x, 1, axis=0) - x for x in places]
    assume(min(np.linalg.norm(x, axis=1).min() for x in ends) > 1e-9 + 8 * truth.grid)
    corners = {corner for polygon in polygons for corner in polygon}
    assert surface.num_vertices == len(corners)
    if len(case.lower) == 2:
        assert surface.num_edges == len(polygons)
    else:
        assert (surface.num_edges, surface.num_faces) == (
            len(truth.exact.edge_counts),
            len(polygons),
        )


def tracing_is_subdivision(drawn: Drawn) -> None:
    case = drawn.case()
    traced = surface_of(case, method="trace", complete=True)
    assert_same(traced, surface_of(case), tolerance=float(np.ptp(case.bounds)) * 1e-5)


def a_positive_factor_of_f_changes_nothing(drawn: Drawn) -> None:
    case = drawn.case()
    before = surface_of(case)
    with torch.no_grad():
        for part in case.network[-1].parameters():
            part *= 3000.0
    after = surface_of(case)
    assert cells(after) == cells(before)
    assert_close(in_units(case, after), in_units(case, before), drawn)


def box_and_network_move_together(drawn: Drawn) -> None:
    drawn = in_float64(drawn)
    here, there = drawn.case(), dataclasses.replace(drawn, box="unit").case()
    one, two = surface_of(here), surface_of(there)
    assert cells(one)[0] == cells(two)[0]
    places = [
        in_units(case, x)[x.signs.vertex_keys.argsort()] for case, x in ((here, one), (there, two))
    ]
    assert_close(*places, drawn)


def minus_f_is_wound_the_other_way(drawn: Drawn) -> None:
    case = drawn.case()
    before = surface_of(case)
    with torch.no_grad():
        for part in case.network[-1].parameters():
            part.neg_()
    after = surface_of(case)
    vertices, edges, polygons = cells(before)
    turned = sorted((cycle[0], *cycle[:0:-1]) for cycle in polygons)
    assert cells(after) == (vertices, edges, turned)
    if len(case.lower) == 3:
        sums = [surface.face_normals.double().sum(dim=1) for surface in (before, after)]
        assert_close(sums[0].sort().values, (-sums[1]).sort().values, drawn)


def the_order_of_neurons_changes_nothing(drawn: Drawn) -> None:
    case = drawn.case()
    before = surface_of(case)
    rng = np.random.default_rng(drawn.seed)
    linears = list(case.network[::2])
    for one, two in pairwise(linears):
        order = torch.tensor(rng.permutation(len(one.bias)))
        one.weight.data, one.bias.data = one.weight.data[order], one.bias.data[order]
        two.weight.data = two.weight.data[:, order]
    after = surface_of(case)
    assert counts(after) == counts(before)
    apart = (in_units(case, after)[:, None] - in_units(case, before)).norm(dim=2)
    assert_close(apart.amin(dim=0), 0 * apart[0], drawn)
    assert_close(apart.amin(dim=1), 0 * apart[:, 0], drawn)


def copies_past_a_relu_change_nothing(drawn: Drawn) -> None:
    """What a ReLU gives is not negative, so that one more lets it pass, and has no fold."""
    case = drawn.case()
    before = surface_of(case)
    width = drawn.sizes[1]
    copies = nn.Linear(width, width, dtype=drawn.dtype)
    copies.weight.data, copies.bias.data = torch.eye(width).to(drawn.dtype), copies.bias.data * 0
    first, *rest = case.network
    after = surface_of(
        dataclasses.replace(case, network=nn.Sequential(first, nn.ReLU(), copies, *rest))
    )
    assert counts(after) == counts(before)
    assert_close(after.edge_lengths().sort().values, before.edge_lengths().sort().values, drawn)


def folds_that_do_not_bend_f_only_divide(drawn: Drawn) -> None:
    case = drawn.case()
    every, bent = surface_of(case, all_folds=True), surface_of(case)
    assert set(cells(bent)[0]) <= set(cells(every)[0])
    assert bent.is_closed == every.is_closed
    if len(case.lower) == 3:
        assert bent.euler_characteristic == every.euler_characteristic
        assert float(bent.area()) == pytest.approx(float(every.area()), rel=1e-4)


PROPERTIES = [
    every_extractor_has_the_exact_surface,
    cells_are_the_exact_ones,
    tracing_is_subdivision,
    a_positive_factor_of_f_changes_nothing,
    box_and_network_move_together,
    minus_f_is_wound_the_other_way,
    the_order_of_neurons_changes_nothing,
    copies_past_a_relu_change_nothing,
    folds_that_do_not_bend_f_only_divide,
]


def counts(surface: PolyhedralSurface) -> tuple[int, int, int, bool]:
    return surface.num_vertices, surface.num_edges, surface.num_faces, surface.is_closed


def assert_close(one: torch.Tensor, two: torch.Tensor, drawn: Drawn) -> None:
    tolerance = 1e-8 if drawn.dtype == torch.float64 else 1e-3
    torch.testing.assert_close(one.double(), two.double(), rtol=tolerance, atol=tolerance)


def holds_for(property_: Callable[[Drawn], None], examples: int, **options) -> None:
    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **options,
    )
    chosen(given(networks())(property_))()


@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda x: x.__name__)
def test_a_few_networks(property_):
    holds_for(property_, 8, derandomize=True)


@pytest.mark.campaign
@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda x: x.__name__)
def test_many_networks(property_):
    holds_for(property_, 3000, print_blob=True)


# Dimensions that have a complex and no surface


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_the_complex_has_the_cells_that_trying_everything_finds(dimension):
    @settings(max_examples=5, derandomize=True, deadline=None, database=None)
    @given(networks((dimension,)))
    def holds(drawn: Drawn) -> None:
        assume(sum(drawn.sizes[1:-1]) <= 6)
        one = tuple(0 for _ in drawn.scales)
        drawn = dataclasses.replace(drawn, scales=one, box="unit", dtype=torch.float64)
        case = drawn.case()
        expected = brute_force_counts(case.network, -1.0, 1.0)
        for backend in ("plain", "compiled"):
            whole = shapeopt.extract_complex(case.network, case.bounds, backend=backend)
            found = whole.num_cells
            assert (found[0], found[1], found[-1]) == expected[:3]
            assert sum((-1) ** k * count for k, count in enumerate(found)) == 1
        if dimension in (1, 4):
            with pytest.raises(InputError, match=f"has {dimension} inputs; a surface exists for 3"):
                shapeopt.extract_surface(case.network, case.bounds)

    holds()
