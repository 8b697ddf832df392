"""Proofs that the zero set is somewhere else, so that its surroundings alone are subdivided.

Between two layers each region has one affine map to the next pre-activations, and what the rest
of the network makes of it can be bounded. A region whose bounds have one sign has no zero in it,
and none of its parts will ever have one. Dropping it loses nothing:

* A region that does hold a zero is never dropped. All its vertices, edges and 2-faces are kept,
  and later neurons cut them exactly as they would in the whole complex.
* Where dropped regions meet kept ones, 2-faces with only some of their edges remain. Such a face
  lies in no kept region. If two of its edges are left and cut, the edge between them is a true one
  of the complex; if one is, the face is passed over.

So what remains at the end is part of the true skeleton, and has all cells of the zero set.

The bounds, over a box around the region with centre c and half-widths h:

* Forward, every neuron is an affine function of x plus or minus an error (affine arithmetic): on
  [l, u] around 0, a ReLU is within -s l / 2 of s z - s l / 2, where s = u / (u - l).
* Backward, f is bounded by a linear function of one layer's neurons after the other, from the
  output on, with the forward ranges to relax each ReLU (CROWN: Zhang et al., *Efficient Neural
  Network Robustness Certification with General Activation Functions*, NeurIPS 2018).

The affine map of a region is computed in float64, what follows in float32. The rounding of every
term is bounded, by the terms and not by their sum, and widens the ranges and the bounds: a sum of n
terms in any order is off by at most n eps times the sum of their sizes (Higham, *Accuracy and
Stability of Numerical Algorithms*, section 3.1).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int32
from torch import Tensor

from shapeopt.complex.signs import Constraints, unpack, with_plus
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.subdivision.regions import find_regions
from shapeopt.networks.affine import AffineLayer

REGIONS_AT_A_TIME = {"cpu": 1 << 12, "cuda": 1 << 16}
"""Few enough for the caches of a CPU, and for the memory of a GPU."""


class Pruning(NamedTuple):
    """From what size on leaving out regions takes less time than it saves.

    Attributes:
        min_vertices: a complex of fewer is subdivided faster than its regions are bounded.
        min_layers: with fewer hidden layers to come, a region will not be cut often enough.
    """

    min_vertices: int
    min_layers: int

    def pays(self, num_vertices: int, hidden_layers_left: int) -> bool:
        """Whether to leave out regions now."""
        return num_vertices >= self.min_vertices and hidden_layers_left >= self.min_layers


PRUNING = Pruning(min_vertices=1 << 17, min_layers=3)


def edges_near_zero_set(
    layers: Sequence[AffineLayer], done: int, skeleton: Skeleton, *, compiled: bool
) -> Bool[Tensor, "e"]:
    """Edges of the regions that may hold a zero of the output.

    Args:
        layers: all of the network's layers, with one output.
        done: number of layers that have been cut; at least one, and not all hidden ones.
        skeleton: of the complex of those layers, or what earlier calls left of it.
        compiled: find the regions with the compiled kernels, on a CPU.
    """
    constraints = skeleton.constraints
    if compiled:
        from shapeopt.extraction.subdivision.regions_compiled import find_regions as find
    else:
        find = find_regions
    regions = find(skeleton)
    # In a whole region, d edges meet at every vertex. One with fewer was dropped before.
    is_whole = 2 * regions.num_edges == constraints.dimension * regions.num_vertices
    whole = torch.nonzero(is_whole).flatten()
    # One vertex of each region tells its signs.
    signs = skeleton.vertex_plus_bits[regions.vertex[whole]]
    for neuron in regions.plus[whole].unbind(1):
        signs = with_plus(signs, neuron, constraints)
    lower, upper = regions.lower[whole], regions.upper[whole]
    near = may_hold_zero(layers, constraints, done, signs, (lower + upper) / 2, (upper - lower) / 2)
    # The last entry is for the -1 that stands for no region.
    is_near = torch.zeros(len(is_whole) + 1, dtype=torch.bool, device=near.device)
    is_near[whole[near]] = True
    return is_near[regions.around].any(dim=0)


def may_hold_zero(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    done: int,
    signs: Int32[Tensor, "r words"],
    centre: Float[Tensor, "r d"],
    half: Float[Tensor, "r d"],
) -> Bool[Tensor, "r"]:
    """Whether the bounds leave room for a zero of f in the regions.

    Args:
        layers: all layers of the network.
        done: number of layers that have been cut.
        signs: packed + signs of each region.
        centre, half: of a box around each region.
    """
    # The corners of regions were rounded to float32, as their middles are here.
    centre, eps = centre.float(), torch.finfo(torch.float32).eps
    half = half.float() * (1 + 2 * eps) + 2 * eps * centre.abs().clamp(min=1)
    may_hold = torch.zeros(len(centre), dtype=torch.bool, device=centre.device)
    count = REGIONS_AT_A_TIME[centre.device.type]
    for start in range(0, len(centre), count):
        part = slice(start, start + count)
        patterns = [
            unpack(signs[part, constraints.words(i)], constraints.widths[i]) for i in range(done)
        ]
        may_hold[part] = _bound(layers, patterns, centre[part], half[part])
    return may_hold


def _bound(
    layers: Sequence[AffineLayer],
    patterns: Sequence[Bool[Tensor, "r _"]],
    centre: Float32[Tensor, "r d"],
    half: Float32[Tensor, "r d"],
) -> Bool[Tensor, "r"]:
    value, slope, rounding = affine_map(layers, patterns, centre.double())
    region = _Region(value.float(), slope.float(), half, rounding)
    rest = [layer.map(Tensor.float) for layer in layers[len(patterns) :]]
    ranges, lower, upper = forward_ranges(rest, region)
    near = torch.nonzero((lower <= 0) & (upper >= 0)).flatten()
    region = _Region(region.value[near], region.slope[near], region.half[near], rounding)
    ranges = [(low[near], high[near]) for low, high in ranges]
    is_positive = lower_bound(rest, ranges, region, 1) > 0
    is_negative = lower_bound(rest, ranges, region, -1) > 0
    may_hold = torch.zeros_like(lower, dtype=torch.bool)
    may_hold[near] = ~(is_positive | is_negative)
    return may_hold


class _Region(NamedTuple):
    """Regions with the affine map to the first pre-activations that are not cut yet.

    Attributes:
        value: at the centre of a box around the region.
        slope: gradients.
        half: half sides of the box.
        rounding: largest error of a value or, times a half side, of a slope, so far.
    """

    value: Float32[Tensor, "r width"]
    slope: Float32[Tensor, "r d width"]
    half: Float32[Tensor, "r d"]
    rounding: float


def affine_map(
    layers: Sequence[AffineLayer],
    patterns: Sequence[Bool[Tensor, "r _"]],
    centre: Float64[Tensor, "r d"],
) -> tuple[Float64[Tensor, "r width"], Float64[Tensor, "r d width"], float]:
    """The next layer's pre-activations at the centre, their gradients, and the largest error of
    either."""
    value, error, size = centre, 0.0, float(centre.abs().amax()) if len(centre) else 0.0
    slope = torch.eye(centre.shape[1], dtype=centre.dtype, device=centre.device)
    slope = slope.expand(len(centre), -1, -1)
    for index, layer in enumerate(layers[: len(patterns) + 1]):
        weight, bias = layer.weight.double(), layer.bias.double()
        if index:
            active = patterns[index - 1].to(centre.dtype)
            value, slope = value * active, slope * active[:, None]
        gain, terms = _gain(layer), float(bias.abs().max())
        error = gain * error + _unit_rounding(layer, torch.float64) * (gain * size + terms)
        value, slope = torch.addmm(bias, value, weight.T), slope @ weight.T
        size = float(torch.maximum(value.abs().amax(), slope.abs().amax())) if len(value) else 0.0
    return value, slope, error


def _gain(layer: AffineLayer) -> float:
    """By how much an error in all inputs can grow."""
    return float(layer.weight.abs().sum(dim=1).max())


def _unit_rounding(layer: AffineLayer, dtype: torch.dtype) -> float:
    """Bounds the error of a sum of the layer's terms, and a few operations around it, relative to
    the sum of their sizes."""
    return 2.0 * (layer.weight.shape[1] + 8) * torch.finfo(dtype).eps


def forward_ranges(
    rest: Sequence[AffineLayer], region: _Region
) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]:
    """Affine arithmetic through the remaining layers, outward rounded.

    Returns the ranges of the neurons of each remaining hidden layer, and the bounds of f.
    """
    value, slope, half = region.value, region.slope, region.half
    eps = torch.finfo(value.dtype).eps
    reach = (slope.abs() * half[:, :, None]).sum(dim=1)
    error = 4 * eps * (value.abs() + reach) + region.rounding
    ranges = []
    for before, layer in pairwise(rest):
        unit = _unit_rounding(layer, value.dtype)
        reach = (slope.abs() * half[:, :, None]).sum(dim=1) + error
        reach = reach + 4 * eps * (value.abs() + reach)
        low, high = value - reach, value + reach
        if before.is_linear is not None:
            # Passed on as they are, as numbers in a range above 0 are.
            size = torch.maximum(-low, high)
            low = torch.where(before.is_linear, 0, low)
            high = torch.where(before.is_linear, size, high)
        ranges.append((low, high))
        factor, shift = _relaxation(low, high)
        value, slope = value * factor + shift / 2, slope * factor[:, None]
        size = torch.maximum(-low, high).amax(dim=1, keepdim=True)
        error = error * factor + shift / 2 + unit * size
        value = torch.addmm(layer.bias, value, layer.weight.T)
        slope = slope @ layer.weight.T
        error = (error @ layer.weight.T.abs() + unit * layer.bias.abs()) * (1 + unit)
    reach = (slope[:, :, 0].abs() * half).sum(dim=1) + error[:, 0]
    reach = reach + 4 * eps * (value[:, 0].abs() + reach)
    return ranges, value[:, 0] - reach, value[:, 0] + reach


def _relaxation(
    low: Float[Tensor, "r width"], high: Float[Tensor, "r width"]
) -> tuple[Float[Tensor, "r width"], Float[Tensor, "r width"]]:
    """Slope and offset of the chord over a ReLU on [low, high], an upper bound.

    The line of the same slope through 0 is a lower bound.
    """
    crosses = (low < 0) & (high > 0)
    factor = torch.where(crosses, high / (high - low), (low >= 0).to(low.dtype))
    return factor, torch.where(crosses, -factor * low, 0)


def lower_bound(
    rest: Sequence[AffineLayer],
    ranges: Sequence[tuple[Tensor, Tensor]],
    region: _Region,
    sign: int,
) -> Float32[Tensor, "r"]:
    """Lower bound of sign * f by linear bounds from the output back to the first of the layers,
    rounded down."""
    value, slope, half, rounding = region
    row = (sign * rest[-1].weight).expand(len(value), -1)
    offset = (sign * rest[-1].bias).expand(len(value))
    lost = _unit_rounding(rest[-1], value.dtype) * rest[-1].bias.abs()
    sizes = [torch.maximum(-low, high).amax(dim=1) for low, high in ranges]
    for index in reversed(range(len(rest) - 1)):
        low, high = ranges[index]
        factor, shift = _relaxation(low, high)
        # What the row's terms can add up to, here and, multiplied out, in the layer before.
        terms = sizes[index]
        if index > 0:
            terms = terms + _gain(rest[index]) * sizes[index - 1] + rest[index].bias.abs().amax()
        weight = row.abs().sum(dim=1)
        lost = lost + 2 * _unit_rounding(rest[index + 1], value.dtype) * weight * terms
        lost = lost + 2 * _unit_rounding(rest[index], value.dtype) * weight * terms
        # Where the row is positive a lower bound of the ReLU is needed: 0 or z, the closer one.
        below = torch.where((low < 0) & (high > 0), (high > -low).to(low.dtype), factor)
        negative = row.clamp(max=0)
        offset = offset + (negative * shift).sum(dim=1)
        row = row.clamp(min=0) * below + negative * factor
        if index > 0:
            offset = offset + row @ rest[index].bias
            row = row @ rest[index].weight
    lost = lost + row.abs().sum(dim=1) * rounding
    reach = ((slope * row[:, None]).sum(dim=2).abs() * half).sum(dim=1)
    return offset + (row * value).sum(dim=1) - reach - lost
