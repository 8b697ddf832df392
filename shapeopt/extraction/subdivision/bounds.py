"""What f can be in a region: bounds by affine forms, in plain torch on any device.

This is the oracle of the compiled twin for the CPU (``bounds_compiled.py``).

The forms are zonotopes (Singh et al., *Fast and Effective Robustness Certification*, NeurIPS 2018),
but over the region itself in the place of a box around it. A region is the convex hull of its
corners, so an affine function on it is given by its values there, and its range is that of these
values. Every neuron of the layers to come is then

    an affine function, by its values at the corners, plus sum_s c_s e_s with |e_s| <= 1, plus a
    remainder of known size.

A ReLU that is + or - all over that range keeps this form. Any other one, on [l, u] around 0, lies
within h = -l u / (2 (u - l)) of the line s z + h, where s = u / (u - l), and that error becomes one
more e_s, of c_s = h. The e_s are kept through the layers, so that errors which cancel do so here.

Of the last hidden layer nothing can cancel any more, and f itself is known at the corners. A ReLU
is convex: inside, where x = sum_c p_c c, it is below the mean of what it is at the corners with the
shares p_c, and at most by its gap g = 2 h, the largest distance from its chord on [l, u]. So

    min_c f(c) - sum_{w > 0} w g  <=  f(x)  <=  max_c f(c) + sum_{w < 0} |w| g,

with the weights w of the output.

The values at the corners are those that the subdivision decides by, and new vertices are
interpolated between them. What rounding, and the shift of every fold by some ulps (see
``tolerances.py``), make of any value goes into the remainder: a sum of n terms in any order is off
by at most n eps times the sum of their sizes (Higham, *Accuracy and Stability of Numerical
Algorithms*, section 3.1).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.mesh.ragged import owners_of
from shapeopt.networks.affine import AffineLayer

NUMBERS_AT_A_TIME = 1 << 24
"""Coefficients held at once."""

SMALLEST = 5e-324
"""The smallest number above 0: a divisor that is at least this large is never 0."""


def unit_rounding(layer: AffineLayer, dtype: torch.dtype, ulps: int) -> float:
    """Bounds the error of a layer's values relative to the sum of their terms' sizes."""
    return 2.0 * (layer.weight.shape[1] + 8 + ulps) * torch.finfo(dtype).eps


def largest_of(values: Float[Tensor, "v width"]) -> float:
    """The largest absolute value."""
    low, high = torch.aminmax(values)
    return max(-float(low), float(high))


def slack_of(largest: float, dtype: torch.dtype, ulps: int) -> float:
    """Bounds what rounding and the shift of folds make of values up to the largest."""
    return 2 * ulps * torch.finfo(dtype).eps * largest


def reach_of(output: AffineLayer, largest: float, dtype: torch.dtype, ulps: int) -> float:
    """Bounds what they make of f, if the output comes after a layer with such values."""
    unit = unit_rounding(output, dtype, ulps)
    of_each = slack_of(largest, dtype, ulps) + unit * largest
    return of_each * float(output.weight.abs().sum()) + unit * float(output.bias.abs().sum())


def may_hold_zero(
    rest: Sequence[AffineLayer],
    regions: Regions,
    chosen: Bool[Tensor, "r"],
    values: Float[Tensor, "v width"],
    ulps: int,
) -> Bool[Tensor, "r"]:
    """Whether the bounds leave room for a zero of f in the regions, if they are chosen.

    Args:
        rest: the layers from the one at work on.
        regions: their corners.
        chosen: the ones to look at; False for the others.
        values: of the layer at work at the vertices; their dtype is the one that rounding is of.
        ulps: that count as rounding.
    """
    range_of = _range_by_gaps if len(rest) == 2 else _range_by_forms
    width = max(len(layer.bias) for layer in rest)
    symbols = sum(len(layer.bias) for layer in rest[:-1])
    count = max(1, NUMBERS_AT_A_TIME // (width * (symbols + 8)))
    largest = largest_of(values)
    found = [torch.zeros(0, dtype=torch.bool, device=values.device)]
    bounds = torch.arange(0, len(regions) + count, count).clamp(max=len(regions))
    starts = regions.offsets[bounds.to(values.device)].tolist()
    for (first, last), (start, stop) in zip(
        pairwise(bounds.tolist()), pairwise(starts), strict=True
    ):
        owner = owners_of(regions.offsets[first : last + 1], stop - start)
        at_corners = values[regions.corners[start:stop].long()]
        low, high = range_of(rest, _Part(at_corners, owner, last - first), largest, ulps)
        # Not what is proven alone: a NaN, where numbers leave their range, proves nothing.
        found.append(~((low > 0) | (high < 0)))
    return torch.cat(found) & chosen


class _Part(NamedTuple):
    """Some of the regions.

    Attributes:
        at_corners: the values at work at the corners.
        owner: the region of each corner.
        num_regions: of how many.
    """

    at_corners: Float[Tensor, "m width"]
    owner: Int64[Tensor, "m"]
    num_regions: int


_Range = tuple[Float64[Tensor, "r"], Float64[Tensor, "r"]]


def _range_by_gaps(rest: Sequence[AffineLayer], part: _Part, largest: float, ulps: int) -> _Range:
    """Between what numbers f is, if only the output comes after the layer at work."""
    (layer, output), (at_corners, owner, count) = rest, part
    dtype = at_corners.dtype
    f = torch.addmm(output.bias, layer.activated(at_corners.clone()), output.weight.T)
    lowest, highest = _ranges(f.double(), owner, count)
    low, high = _ranges(at_corners.double(), owner, count)
    slack, reach = slack_of(largest, dtype, ulps), reach_of(output, largest, dtype, ulps)
    low, high = (low - slack).clamp(max=0), (high + slack).clamp(min=0)
    gaps = -low * (high / (high - low).clamp(min=SMALLEST))
    if layer.is_linear is not None:
        gaps = gaps.masked_fill(layer.is_linear, 0)
    weight = output.weight[0].double()
    below, above = gaps @ weight.clamp(min=0) + reach, reach - gaps @ weight.clamp(max=0)
    return lowest[:, 0] - below, highest[:, 0] + above


def _range_by_forms(rest: Sequence[AffineLayer], part: _Part, largest: float, ulps: int) -> _Range:
    """Between what numbers f is, by affine forms."""
    dtype, at_corners = part.at_corners.dtype, part.at_corners.double()
    none = at_corners.new_zeros(part.num_regions, 0, at_corners.shape[1])
    slack = at_corners.new_full(
        (part.num_regions, at_corners.shape[1]), slack_of(largest, dtype, ulps)
    )
    form = _Form(part.owner, at_corners, none, slack)
    for layer, after in pairwise(rest):
        unit = unit_rounding(after, dtype, ulps)
        form = form.through(layer, after.map(Tensor.double), unit)
    low, high = form.ranges()
    return low[:, 0], high[:, 0]


def _ranges(
    at_corners: Float64[Tensor, "m width"], owner: Int64[Tensor, "m"], count: int
) -> tuple[Float64[Tensor, "r width"], Float64[Tensor, "r width"]]:
    """The smallest and the largest number at the corners of each region."""
    index = owner[:, None].expand_as(at_corners)
    low, high = at_corners.new_empty(2, count, at_corners.shape[1]).unbind(0)
    low.scatter_reduce_(0, index, at_corners, "amin", include_self=False)
    high.scatter_reduce_(0, index, at_corners, "amax", include_self=False)
    return low, high


class _Form(NamedTuple):
    """The values of a layer over regions.

    Attributes:
        owner: the region of each corner.
        at_corners: of the affine part.
        errors: the coefficients c_s of each region.
        slack: the remainder.
    """

    owner: Int64[Tensor, "m"]
    at_corners: Float64[Tensor, "m width"]
    errors: Float64[Tensor, "r symbols width"]
    slack: Float64[Tensor, "r width"]

    def ranges(self) -> tuple[Float64[Tensor, "r width"], Float64[Tensor, "r width"]]:
        """Between what numbers the values are."""
        low, high = _ranges(self.at_corners, self.owner, len(self.slack))
        reach = self.errors.abs().sum(dim=1) + self.slack
        return low - reach, high + reach

    def through(self, layer: AffineLayer, after: AffineLayer, unit: float) -> "_Form":
        """The values of the layer after this one."""
        low, high = self.ranges()
        crosses = (low < 0) & (high > 0)
        factor = torch.where(crosses, high / (high - low), (low >= 0).to(low.dtype))
        middle = torch.where(crosses, -factor * low / 2, 0)
        size = torch.maximum(-low, high)
        if layer.is_linear is not None:
            factor, middle = (
                factor.masked_fill(layer.is_linear, 1),
                middle.masked_fill(layer.is_linear, 0),
            )
        at_corners = self.at_corners * factor[self.owner] + middle[self.owner]
        errors = torch.cat([self.errors * factor[:, None], torch.diag_embed(middle)], dim=1)
        sizes = after.weight.abs()
        return _Form(
            self.owner,
            torch.addmm(after.bias, at_corners, after.weight.T),
            errors @ after.weight.T,
            (self.slack * factor) @ sizes.T + unit * (size @ sizes.T + after.bias.abs()),
        )
