"""Points on the zero set to start tracing from.

Tracing finds the components that have a seed. By default seeds come from sign tests on a grid over
the box, of half the size near the zero set. What can be missed: a component, if the shape or the
gap that it encloses slips through between the points of that grid, or if each grid line that
crosses it crosses another one as well before the next point. ``method="subdivide"`` misses nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.differentiate import gradient_where
from shapeopt.extraction.extractor import Backend, is_compiled
from shapeopt.extraction.no_zero import NoZero
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.simplices import middles_in_simplices
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tolerances import consistently, neuron_sizes
from shapeopt.extraction.tracing.plain import Scale, ZeroCellSolver
from shapeopt.mesh.ragged import owners_of
from shapeopt.networks.affine import AffineLayer

RESOLUTION = 32
"""Cells of the default grid along each side of the box."""

SCALE_RESOLUTION = 8
"""Cells of the grid that measures how large the neurons' values are."""

_STEPS = 100

_ROUNDING = 1e-13
"""Values of f that are smaller by this factor than typical ones count as 0."""


@dataclass
class Samples:
    """f at points of a regular grid over the box, in float64.

    Attributes:
        points: positions, the last axis running fastest.
        values: f there.
    """

    points: Float[Tensor, "n d"]
    values: Float[Tensor, "n"]


Function = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n"]]
"""f at points, such as :meth:`ZeroCellSolver.evaluate`."""


def find_seeds(
    solver: ZeroCellSolver, seeds: Float[Tensor, "n d"] | int, *, may_be_empty: bool = False
) -> Float[Tensor, "n d"]:
    """Points of the zero set, from given points near it or from a grid of samples.

    Args:
        solver: of the network and the box.
        seeds: the points, in float64, or the grid's cells along a side.
        may_be_empty: whether to return no points where there are none, instead of an error.

    Raises:
        NoZero: if there are none.
    """
    if isinstance(seeds, int):
        samples = sample_grid(solver.evaluate, solver.box, seeds)
        points = grid_seeds(solver.evaluate, samples, seeds)
        searched = f"on a grid of {seeds} cells along each side of it"
    else:
        samples = sample_grid(solver.evaluate, solver.box, SCALE_RESOLUTION)
        points = projected_seeds(solver.layers, solver.box, seeds)
        searched = f"from the {len(seeds)} given seeds, and at points of a grid over it"
    if len(points) or may_be_empty:
        return points
    raise NoZero(float(samples.values.min()), float(samples.values.max()), searched)


def subdivided_seeds(solver: ZeroCellSolver, backend: Backend) -> Float[Tensor, "n d"]:
    """A point in every polygon (in 2D: segment) of the zero set, by edge subdivision: of the box,
    or of the simplices of an encoded network.

    Args:
        solver: of the network and the box.
        backend: of the subdivision.

    Raises:
        NoZero: if there are none.
    """
    layers, box = solver.layers, solver.box
    compiled = is_compiled(backend, box.lower.device)
    if layers[0].encoding is not None:
        middles = consistently(lambda ulps: middles_in_simplices(layers, ulps, compiled=compiled))
        if len(middles) == 0:
            samples = sample_grid(solver.evaluate, box, layers[0].encoding.finest)
            raise NoZero(float(samples.values.min()), float(samples.values.max()))
        return middles
    skeleton = consistently(
        lambda ulps: subdivide(layers, box, surface_only=True, backend=backend, ulps=ulps)
    )
    found = zero_set(layers, box, skeleton, compiled=compiled)
    if box.dimension == 2:
        return found.vertices[found.edges].mean(dim=1)
    sizes = found.face_offsets.diff()
    total = found.vertices.new_zeros(found.num_faces, box.dimension)
    total.index_add_(0, owners_of(found.face_offsets), found.vertices[found.face_vertices])
    return total / sizes[:, None]


def _grid(box: Box, resolution: int) -> Float[Tensor, "n d"]:
    """Points with ``resolution`` cells between them along each side of the box."""
    steps = torch.arange(resolution + 1, device=box.lower.device)
    index = torch.cartesian_prod(*[steps] * box.dimension)
    return torch.lerp(box.lower, box.upper, index.to(box.lower.dtype) / resolution)


@torch.no_grad()
def sample_grid(function: Function, box: Box, resolution: int) -> Samples:
    """A function on a grid with ``resolution`` cells along each side of the box."""
    points = _grid(box, resolution)
    return Samples(points, function(points))


@torch.no_grad()
def measured_scale(layers: Sequence[AffineLayer], box: Box) -> Scale:
    """The scale by the size of each hidden neuron on a grid over the box, see ``tolerances.py``.

    Args:
        layers: without graph, in float64.
        box: the domain, in float64.
    """
    points = layers[0].inputs(_grid(box, SCALE_RESOLUTION))
    sizes = [points.new_empty(0)]
    before = points.abs().amax(dim=0)
    for layer in layers[:-1]:
        points = layer.values(points)
        largest = torch.maximum(points.amax(dim=0), -points.amin(dim=0))
        sizes.append(neuron_sizes(layer, before, largest))
        points, before = layer.activated(points), largest
    return Scale.of(layers, box, torch.cat(sizes))


@torch.no_grad()
def grid_seeds(function: Function, samples: Samples, resolution: int) -> Float[Tensor, "n d"]:
    """A point of the zero set on every edge of the grid whose ends differ in the sign of f.

    Cells without such an edge that f may reach 0 in, by its steepest slope along the grid, are
    searched once more, on a grid of half the size.
    """
    points, values = samples.points, samples.values
    dimension = points.shape[1]
    on_grid = values.view([resolution + 1] * dimension)
    is_inside, strides = on_grid < 0, _strides(resolution + 1, dimension, points.device)
    starts, ends, steepest = [], [], 0.0
    for axis in range(dimension):
        one, two = (on_grid.narrow(axis, shift, resolution) for shift in (0, 1))
        steepest = max(steepest, float((two - one).abs().max()))
        one, two = (is_inside.narrow(axis, shift, resolution) for shift in (0, 1))
        starts.append(torch.nonzero(one != two) @ strides)
        ends.append(starts[-1] + strides[axis])
    start, end = torch.cat(starts), torch.cat(ends)
    # The middle of a cell is this far from the corners, in cells.
    reach = steepest * dimension**0.5 / 2
    near, fine_points, fine_values = _search_near_cells(function, samples, resolution, reach)
    return bracketed_zeros(
        function,
        torch.cat([points[start], points[near]]),
        torch.cat([points[end], fine_points]),
        torch.cat([values[start], values[near]]),
        torch.cat([values[end], fine_values]),
    )


def _strides(side: int, dimension: int, device: torch.device) -> Int64[Tensor, "d"]:
    """What a step along each axis adds to the number of a point of a grid."""
    return side ** torch.arange(dimension - 1, -1, -1, device=device)


def _search_near_cells(
    function: Function, samples: Samples, resolution: int, reach: float
) -> tuple[Int64[Tensor, "n"], Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Points of halved cells where f has another sign than at all corners of the cell.

    Only cells with a corner where f is smaller than the reach are halved.

    Returns the number of a corner of the cell for each, the point, and f there.
    """
    dimension, device = samples.points.shape[1], samples.points.device
    low = high = samples.values.view([resolution + 1] * dimension)
    for axis in range(dimension):
        low = torch.minimum(*(low.narrow(axis, shift, resolution) for shift in (0, 1)))
        high = torch.maximum(*(high.narrow(axis, shift, resolution) for shift in (0, 1)))
    is_near = torch.minimum(low.abs(), high.abs()) < reach
    cell = torch.nonzero(((low < 0) == (high < 0)) & is_near)
    corner = cell @ _strides(resolution + 1, dimension, device)

    steps, place = _points_of_halves(cell, resolution)
    share = steps.to(samples.points.dtype) / (2 * resolution)
    points = torch.lerp(samples.points[0], samples.points[-1], share)
    found = function(points)
    is_inside = (samples.values[corner] < 0).repeat_interleave(place.shape[1])
    differs = torch.nonzero((found < 0).index_select(0, place.flatten()) != is_inside).flatten()
    other = place.flatten()[differs]
    return corner[differs // place.shape[1]], points[other], found[other]


def _points_of_halves(
    cell: Int64[Tensor, "c d"], resolution: int
) -> tuple[Int64[Tensor, "n d"], Int64[Tensor, "c halves"]]:
    """The points that halving cells adds, each once, for most belong to several cells.

    Args:
        cell: coordinates of each in a grid of ``resolution`` cells along each side.

    Returns the points' coordinates in a grid of twice as many, and each cell's places among them.
    """
    dimension, device, side = cell.shape[1], cell.device, 2 * resolution + 1
    strides = _strides(side, dimension, device)
    halves = torch.cartesian_prod(*[torch.arange(3, device=device)] * dimension)
    halves = halves[(halves == 1).any(dim=1)] @ strides
    numbers = (2 * cell @ strides)[:, None] + halves
    is_used = torch.zeros(side**dimension, dtype=torch.bool, device=device)
    is_used.index_fill_(0, numbers.flatten(), True)
    used = torch.nonzero(is_used).flatten()
    place = is_used.new_empty(len(is_used), dtype=torch.int64)
    place.index_copy_(0, used, torch.arange(len(used), device=device))
    coordinates = [used // stride % side for stride in strides.tolist()]
    places = place.index_select(0, numbers.flatten()).view_as(numbers)
    return torch.stack(coordinates, dim=1), places


def bracketed_zeros(
    function: Function,
    start: Float[Tensor, "n d"],
    end: Float[Tensor, "n d"],
    at_start: Float[Tensor, "n"],
    at_end: Float[Tensor, "n"],
) -> Float[Tensor, "n d"]:
    """A zero of f on each segment whose ends differ in sign.

    False position is exact once both ends lie in one region; a bisection after each of its steps
    brings them there.
    """
    if len(start) == 0:
        return start
    direction = end - start
    low, high = torch.zeros_like(at_start), torch.ones_like(at_start)
    tolerance = _ROUNDING * torch.maximum(at_start.abs().max(), at_end.abs().max())
    result = low.clone()
    open_ = torch.arange(len(start), device=start.device)
    low_value, high_value = at_start, at_end
    for step in range(_STEPS):
        if step % 2 == 0:
            t = low + (high - low) * (low_value / (low_value - high_value))
        else:
            t = (low + high) / 2
        value = function(start[open_] + t[:, None] * direction[open_])
        result[open_] = t
        is_low = (value < 0) == (low_value < 0)
        low, low_value = torch.where(is_low, t, low), torch.where(is_low, value, low_value)
        high, high_value = torch.where(is_low, high, t), torch.where(is_low, high_value, value)
        going = torch.nonzero(value.abs() > tolerance).flatten()
        if len(going) == 0:
            break
        low, high, low_value, high_value, open_ = (
            part[going] for part in (low, high, low_value, high_value, open_)
        )
    return start + result[:, None] * direction


@torch.no_grad()
def projected_seeds(
    layers: Sequence[AffineLayer], box: Box, points: Float[Tensor, "n d"]
) -> Float[Tensor, "n d"]:
    """Points of the zero set near the given points, by Newton's method along the gradient of f.

    Points from which it leads nowhere are left out.
    """
    for _ in range(_STEPS):
        values, gradients, size = _value_and_gradient(layers, points)
        is_there = values.abs() <= _ROUNDING * size
        if bool(is_there.all()):
            break
        step = (values / gradients.square().sum(dim=1))[:, None] * gradients
        moved = (points - step).clamp(box.lower, box.upper).where(step.isfinite(), points)
        points = torch.where(is_there[:, None], points, moved)
    values, _, size = _value_and_gradient(layers, points)
    return points[values.abs() <= _ROUNDING * size]


def _value_and_gradient(
    layers: Sequence[AffineLayer], points: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """f, its gradient, and the size of the terms that f is the sum of."""
    *hidden, last = layers
    encoding, at, masks = layers[0].encoding, points, []
    points = layers[0].inputs(points)
    for layer in hidden:
        points = layer.values(points)
        is_active = points > 0 if layer.is_linear is None else (points > 0) | layer.is_linear
        masks.append(is_active.to(points.dtype))
        points = layer.activated(points)
    gradient = gradient_where(layers, reversed(masks)).expand(len(points), -1)
    if encoding is not None:
        gradient = (encoding.slopes_in(encoding.simplices_at(at)) @ gradient[:, :, None])[:, :, 0]
    values = last.values(points)[:, 0]
    size = points @ last.weight[0].abs() + last.bias.abs()
    return values, gradient, size
