"""Cells and vertices from their signs: both backends, and what does not fit together."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import ExtractionError
from shapeopt.complex.differentiate import affine_gradients, outputs_at
from shapeopt.extraction.condition import condition
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.tracing.assemble import assemble
from shapeopt.extraction.tracing.plain import Scale, ZeroCellSolver
from shapeopt.extraction.tracing.seeds import find_seeds, measured_scale
from shapeopt.extraction.tracing.solver import zero_cell_solver
from shapeopt.extraction.tracing.trace import Starts, follow, starts_at
from shapeopt.extraction.tracing.zero_cells import ZeroCells
from shapeopt.networks.affine import without_graph
from tests.extraction.tracing.comparing import BACKENDS, centred_mlp, solver_of


def both_solvers(network: nn.Module) -> list[ZeroCellSolver]:
    return [solver_of(network, backend) for backend in BACKENDS]


SIZES = [(3, 5, 1), (3, 16, 16, 1), (3, 40, 33, 7, 1)]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_compiled_cells_are_those_of_torch(sizes):
    network = centred_mlp(*sizes, seed=0)
    mesh = shapeopt.extract_surface(network, dtype=torch.float64).detach()
    middles = torch.segment_reduce(
        mesh.vertices[mesh.face_vertices], "mean", lengths=mesh.face_offsets.diff()
    )
    given = mesh.signs.face_plus_bits, middles
    one, other = (solver.solve(*given) for solver in both_solvers(network))
    for name in ("keys", "plus_bits", "offsets", "facet_constraints", "is_plus"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert torch.allclose(one.corners, other.corners, rtol=0, atol=1e-9)
    assert torch.allclose(one.slopes, other.slopes, rtol=0, atol=1e-9)
    layers = solver_of(network, "plain").layers
    expected = affine_gradients(layers, mesh.signs.constraints, one.plus_bits)
    assert torch.allclose(one.slopes, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_compiled_vertices_are_those_of_torch(sizes, shift):
    network = centred_mlp(*sizes, seed=0)
    mesh = shapeopt.extract_surface(network, dtype=torch.float64).detach()
    given = mesh.vertices, mesh.signs.vertex_zeros.long(), mesh.signs.vertex_plus_bits
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += shift * torch.randn_like(parameter)
    (positions, holds, rows, _), compiled = (
        solver.solve_vertices(*given) for solver in both_solvers(network)
    )
    assert torch.equal(holds, compiled[1])
    assert holds.double().mean() > (0.1 if shift else 0.99)
    assert shift < 1e-3 or sizes == SIZES[0] or not holds.all()
    assert torch.allclose(positions[holds], compiled[0][holds], rtol=0, atol=1e-9)
    assert torch.allclose(rows, compiled[2], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES)
def test_solved_vertices_come_with_what_neurons_pass_on(sizes, dtype):
    network = centred_mlp(*sizes, seed=0)
    signs = shapeopt.extract_surface(network).signs
    solver = solver_of(network, "compiled")
    # All from one point: the kernel keeps what it knows of the point before.
    middle = torch.zeros(len(signs.vertex_zeros), 3, dtype=torch.float64)
    given = signs.vertex_zeros.long(), signs.vertex_plus_bits
    solved = solver.solve_vertices(middle, *given, dtype)
    at = solver.layers, solver.constraints, solved.positions, given[1]
    assert solved.outputs.dtype == dtype
    assert torch.allclose(solved.outputs.double(), outputs_at(*at), rtol=1e-6, atol=1e-9)
    assert solver.solve_vertices(middle, *given).outputs.shape[1] == 0
    plain = solver_of(network, "plain").solve_vertices(middle, *given)
    assert torch.equal(solved.holds, plain.holds)
    assert torch.allclose(solved.positions[solved.holds], plain.positions[solved.holds], atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_vertices_that_are_no_numbers_do_not_hold(backend):
    network = centred_mlp(3, 10, 1, seed=0)
    signs = shapeopt.extract_surface(network).signs
    nowhere = torch.full((len(signs.vertex_zeros), 3), torch.nan, dtype=torch.float64)
    given = nowhere, signs.vertex_zeros.long(), signs.vertex_plus_bits
    _, holds, _, _ = solver_of(network, backend).solve_vertices(*given)
    assert not holds.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_lost_polygons_are_an_error_and_not_a_hole(backend):
    solver = solver_of(centred_mlp(3, 10, 1, seed=0), backend)
    cells = follow(solver, starts_at(solver, find_seeds(solver, 8)))
    assemble(solver, cells)
    kept = torch.arange(1, len(cells))
    some = cells.select(kept, cells.corners, int(cells.offsets[-1] - cells.offsets[1]))
    with pytest.raises(ExtractionError, match="disagree"):
        assemble(solver, some)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("sizes", [*SIZES, (3, 48, 48, 1)])
def test_one_thread_and_fronts_find_the_same_cells_and_mesh(sizes):
    network = centred_mlp(*sizes, seed=0)
    plain, compiled = both_solvers(network)
    seeds = find_seeds(compiled, 8)
    starts = starts_at(compiled, seeds[:1])  # the queue has to grow, for the last network
    fronts = front_by_front(compiled, starts)
    assert compiled.follow(*starts, fronts.keys[:0]) is not None  # cell by cell
    followed = follow(compiled, starts)
    assert len(followed) > (1 if sizes in SIZES else 600)
    for name in ("keys", "plus_bits", "offsets", "facet_constraints", "is_plus", "corners"):
        assert torch.equal(getattr(followed, name), getattr(fronts, name))
    ordered = compiled.in_order(followed)
    one, other = assemble(plain, ordered), assemble(compiled, ordered)
    for name in ("vertices", "edges", "edge_faces", "face_offsets", "face_vertices", "face_planes"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    for name in ("vertex_zeros", "vertex_plus_bits", "edge_zeros", "face_plus_bits", "vertex_keys"):
        one_part, other_part = getattr(one.signs, name), getattr(other.signs, name)
        assert one_part.dtype == other_part.dtype
        assert torch.equal(one_part, other_part)


def front_by_front(solver: ZeroCellSolver, starts: Starts) -> ZeroCells:
    class Fronts(type(solver)):
        def follow(self, *_) -> None:
            return None

    given = copy.copy(solver)
    given.__class__ = Fronts
    return follow(given, starts)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("known", [0, 40])
def test_known_cells_are_not_walked_again(known):
    solver = solver_of(centred_mlp(3, 16, 16, 1, seed=0), "compiled")
    starts = starts_at(solver, find_seeds(solver, 8)[:1])
    every = follow(solver, starts)
    some = every.select(torch.arange(known), every.corners, int(every.offsets[known]))
    others = Starts(every.plus_bits[known : known + 1], middle_of(every, known)[None])
    again = follow(solver, others, some if known else None)
    assert torch.equal(again.keys[:known], every.keys[:known])
    assert len(again.keys.unique()) == len(again)
    assert torch.isin(again.keys, every.keys).all()
    # What only the known ones lead to is not found.
    assert len(again) == len(every) if known == 0 else len(again) <= len(every)


def middle_of(cells: ZeroCells, cell: int) -> torch.Tensor:
    first, last = cells.offsets[cell : cell + 2].tolist()
    return cells.corners[first:last].mean(dim=0)


class OneFacetSolver(ZeroCellSolver):
    """Forgets all facets but one of each cell, so that a front goes round a vertex for ever:
    through fold i where the signs of i and j agree, through fold j where they do not."""

    folds = (-1, -1)

    def solve(self, plus_bits: torch.Tensor, base: torch.Tensor) -> ZeroCells:
        cells = super().solve(plus_bits, base)
        i, j = (torch.nonzero(cells.facet_constraints == fold).flatten() for fold in self.folds)
        kept = torch.where(cells.is_plus[i] == cells.is_plus[j], i, j)
        return ZeroCells(
            cells.keys,
            cells.plus_bits,
            cells.slopes,
            torch.arange(len(kept) + 1),
            cells.facet_constraints[kept],
            cells.is_plus[kept],
            cells.corners[kept],
        )


def test_fronts_that_come_round_are_an_error():
    network = centred_mlp(3, 10, 10, 1, seed=0)
    surface = shapeopt.extract_surface(network).detach()
    unit = condition(*prepare(network, (-0.5, 0.5), None))
    constant, domain = without_graph(unit.layers), unit.box
    solver = OneFacetSolver(constant, domain, measured_scale(constant, domain))
    # A vertex in the box where two folds cross, and one of the four polygons around it.
    inner = (surface.signs.vertex_zeros <= solver.constraints.output).all(dim=1)
    vertex = int(torch.nonzero(inner)[0])
    zeros = surface.signs.vertex_zeros[vertex].long()
    solver.folds = tuple(zeros[zeros != solver.constraints.output].tolist())
    polygon = int(torch.nonzero(surface.face_vertices == vertex)[0])
    face = int(torch.searchsorted(surface.face_offsets, polygon, right=True)) - 1
    first, last = surface.face_offsets[face : face + 2].tolist()
    middle = surface.vertices[surface.face_vertices[first:last]].mean(dim=0)
    starts = Starts(surface.signs.face_plus_bits[face : face + 1], middle[None])
    with pytest.raises(ExtractionError, match="disagree"):
        follow(solver, starts, fronts_to_check=3)


@pytest.mark.parametrize("axis", range(3))
def test_the_grid_has_a_seed_on_each_of_its_lines_that_crosses_a_plane(axis):
    plane = nn.Linear(3, 1, dtype=torch.float64)
    plane.weight.data, plane.bias.data = torch.eye(3).double()[[axis]], torch.tensor([0.1]).double()
    seeds = find_seeds(solver_of(nn.Sequential(plane), "auto"), 4)
    assert len(seeds) == 5 * 5
    assert torch.allclose(seeds[:, axis], torch.tensor(-0.1).double())


@pytest.mark.parametrize("sizes", [(3, 1), *SIZES])
@pytest.mark.parametrize("count", [0, 1, 3, 1030])
def test_the_compiled_values_are_those_of_torch(sizes, count):
    points = torch.rand(count, 3, dtype=torch.float64) - 0.5
    plain, compiled = (
        solver.evaluate(points) for solver in both_solvers(centred_mlp(*sizes, seed=0))
    )
    assert torch.allclose(plain, compiled, rtol=0, atol=1e-13)


def test_linear_neurons_pass_on_what_is_negative():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(3, 9), nn.Linear(9, 5), nn.Linear(5, 1)

        def forward(self, x):
            return self.last(self.second(self.first(x).relu()).relu() + self.first(x)[:, :5])

    torch.manual_seed(0)
    points = torch.rand(100, 3, dtype=torch.float64) - 0.5
    plain, compiled = both_solvers(Skip())
    assert plain.linear is not None
    assert torch.allclose(plain.evaluate(points), compiled.evaluate(points), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("sizes", "backend"),
    [((2, 16, 16, 1), "plain"), ((3, 16, 16, 1), "plain"), ((3, 16, 16, 1), "compiled")],
)
def test_corners_lie_where_folds_meet_without_their_shifts(sizes, backend):
    network = centred_mlp(*sizes, seed=0)
    unit = condition(*prepare(network, (-0.5, 0.5), None))
    layers = without_graph(unit.layers)
    scale = measured_scale(layers, unit.box)
    shifted = Scale(scale.size, 1e5 * scale.shift)
    seeds = find_seeds(zero_cell_solver(layers, unit.box, scale, backend), 8)
    one, other = (zero_cell_solver(layers, unit.box, by, backend) for by in (scale, shifted))
    given = one.plus_bits_at(seeds), seeds
    found, expected = other.solve(*given), one.solve(*given)
    assert float(shifted.shift[: one.num_hidden].max()) > 1e-9
    assert torch.equal(found.facet_constraints, expected.facet_constraints)
    assert torch.allclose(found.corners, expected.corners, rtol=0, atol=1e-11)
