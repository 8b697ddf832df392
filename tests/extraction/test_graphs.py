"""Random graphs of piecewise-affine units: their surfaces against exact arithmetic, their gradients
against differences.

Fast tests try a few; ``pytest -m slow`` 40, and ``pytest -m campaign`` 500.
"""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import shapeopt
from tests.oracle.coarse import Counted, coarse, with_all_folds
from tests.oracle.exact import exact_surface
from tests.oracle.graphs import ExactGraph, Graph, generate

FAST = (4, 23, 29, 111, 173, 191)
SLOW, ALL = 40, 500
HALF = 1.0

pytestmark = [
    # Where values are 0 on a whole region, as behind two ReLUs, folds coincide there.
    pytest.mark.filterwarnings("ignore:edge subdivision was used instead of tracing"),
]


def bounds(graph: Graph) -> tuple[list[float], list[float]]:
    return [-HALF] * graph.dimension, [HALF] * graph.dimension


def extract(graph: Graph, extractor: shapeopt.Extractor) -> shapeopt.PolyhedralSurface:
    return shapeopt.extract_surface(graph, bounds(graph), extractor=extractor)


def pieces(surface: shapeopt.PolyhedralSurface) -> torch.Tensor:
    """Areas of the polygons; in 2D lengths of the segments."""
    return surface.face_areas() if surface.num_faces else surface.edge_lengths()


def check(
    graph: Graph, extractor: shapeopt.Extractor, truth: Counted, tolerance: float = 1e-9
) -> None:
    """The same vertices and polygons as the truth has."""
    if len(truth.areas) == 0:
        with pytest.raises(shapeopt.EmptySurfaceError):
            extract(graph, extractor)
        return
    with torch.no_grad():
        surface = extract(graph, extractor)
    areas = np.sort(pieces(surface).numpy())
    counts = surface.num_vertices, len(areas)
    assert counts == (len(truth.vertices), len(truth.areas))
    np.testing.assert_allclose(areas, truth.areas, rtol=tolerance, atol=1e-3 * tolerance)
    distances, nearest = cKDTree(surface.vertices.numpy()).query(truth.vertices)
    assert distances.max() < tolerance
    assert len(set(nearest.tolist())) == len(nearest)


def check_all(seed: int) -> None:
    graph = generate(seed)
    exact = exact_surface(ExactGraph(graph), *bounds(graph))
    truth = coarse(exact)
    check(graph, shapeopt.Subdivision(backend="plain"), truth)
    check(graph, shapeopt.Subdivision(backend="compiled"), truth)
    check(graph, shapeopt.Tracing(complete=True), truth)
    if not graph.has_free_order:
        everything = with_all_folds(exact)
        check(graph, shapeopt.Subdivision(all_folds=True), everything)
        check(graph, shapeopt.Tracing(complete=True, all_folds=True), everything)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny networks take longer in several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_two_readings_of_a_graph_agree():
    rng = np.random.default_rng(0)
    for seed in range(SLOW):
        graph = generate(seed)
        point = rng.integers(-64, 65, graph.dimension)
        # Its factors are the same at all points, so that ratios of the outputs are known.
        exact = ExactGraph(graph)
        outputs = [exact.values_at((*(s * point).tolist(), 64))[-1] for s in (1, -1)]
        with torch.no_grad():
            runs = graph(torch.tensor(np.array([point, -point]) / 64))[:, 0].tolist()
        assert outputs[0] * runs[1] == pytest.approx(outputs[1] * runs[0], rel=1e-9), seed


@pytest.mark.thorough
@pytest.mark.parametrize("seed", FAST)
def test_surfaces_of_graphs(seed):
    check_all(seed)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [33, 36])
def test_what_cancels_in_single_precision_leaves_no_folds(seed):
    graph = generate(seed).float()
    truth = coarse(exact_surface(ExactGraph(graph), *bounds(graph)))
    check(graph, shapeopt.Subdivision(), truth, tolerance=1e-4)
    assert extract(graph, shapeopt.Subdivision()).vertices.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SLOW))
def test_surfaces_of_more_graphs(seed):
    check_all(seed)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(SLOW, ALL))
def test_surfaces_of_many_graphs(seed):
    check_all(seed)


# Gradients

STEP = 1e-6


def in_order_of(surface: shapeopt.PolyhedralSurface, vertices: torch.Tensor) -> torch.Tensor:
    """The surface's vertices, each in the place of the nearest one of those given."""
    assert surface.num_vertices == len(vertices)
    nearest = cKDTree(surface.vertices.detach().numpy()).query(vertices.detach().numpy())[1]
    assert len(set(nearest.tolist())) == len(nearest)
    return surface.vertices[torch.from_numpy(nearest)]


def measures(graph: Graph, vertices: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    """A weighted sum of the vertices, the area (in 2D the length), and a sum over the edges."""
    surface = extract(graph, shapeopt.Subdivision())
    places = in_order_of(surface, vertices)
    lengths = surface.edge_lengths()
    return [(weights * places).sum(), pieces(surface).sum(), lengths.square().sum()]


def differences(graph: Graph, directions: list[torch.Tensor], *given: torch.Tensor) -> np.ndarray:
    """Of the measures, along a direction of the parameters."""
    ends = []
    for step in (STEP, -2 * STEP, STEP):
        with torch.no_grad():
            for parameter, direction in zip(graph.parameters(), directions, strict=True):
                parameter += step * direction
            ends.append([float(measure) for measure in measures(graph, *given)])
    return (np.array(ends[0]) - ends[1]) / (2 * STEP)


@pytest.mark.parametrize(
    "seed", [1, 3, 4, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 22))]
)
def test_gradients_on_dissolved_surfaces(seed):
    graph = generate(seed)
    parameters = list(graph.parameters())
    vertices = extract(graph, shapeopt.Subdivision()).vertices.detach()
    generator = torch.Generator().manual_seed(seed)

    def random(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    weights, directions = random(vertices), [random(parameter) for parameter in parameters]
    expected = differences(graph, directions, vertices, weights)
    for measure, slope in zip(measures(graph, vertices, weights), expected, strict=True):
        gradient = torch.autograd.grad(measure, parameters, retain_graph=True, allow_unused=True)
        parts = [
            (part * direction).sum()
            for part, direction in zip(gradient, directions, strict=True)
            if part is not None
        ]
        assert float(sum(parts)) == pytest.approx(slope, rel=1e-5, abs=1e-7)
