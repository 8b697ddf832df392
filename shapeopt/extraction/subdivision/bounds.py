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


def unit_rounding(layer: AffineLayer, dtype: torch.dtype, ulps: int) -> float:
    """Bounds the error of a layer's values relative to the sum of their terms' sizes."""
    return 2.0 * (layer.weight.shape[1] + 8 + ulps) * torch.finfo(dtype).eps


class Rounding(NamedTuple):
    """What rounding, and the shift of folds, make of values at most.

    Attributes:
        slack: of those of the layer at work.
        reach: of f, if it is the layer after that.
    """

    slack: float
    reach: float


def rounding_of(values: Float[Tensor, "v width"], after: AffineLayer, ulps: int) -> Rounding:
    """Of the values of the layer at work, and of those of the one after it."""
    low, high = torch.aminmax(values)
    size, unit = max(-float(low), float(high)), unit_rounding(after, values.dtype, ulps)
    slack = 2 * ulps * torch.finfo(values.dtype).eps * size
    terms, bias = float(after.weight.abs().sum()), float(after.bias.abs().sum())
    return Rounding(slack, (slack + unit * size) * terms + unit * bias)


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
    if len(rest) == 2:
        return _by_gaps(rest[0], rest[1], regions, values, ulps) & chosen
    width = max(len(layer.bias) for layer in rest)
    symbols = sum(len(layer.bias) for layer in rest[:-1])
    count = max(1, NUMBERS_AT_A_TIME // (width * (symbols + 8)))
    double = [layer.map(Tensor.double) for layer in rest]
    slack = values.new_tensor(rounding_of(values, rest[1], ulps).slack, dtype=torch.float64)
    units = [unit_rounding(layer, values.dtype, ulps) for layer in rest]
    found = [torch.zeros(0, dtype=torch.bool, device=values.device)]
    bounds = torch.arange(0, len(regions) + count, count).clamp(max=len(regions))
    starts = regions.offsets[bounds.to(values.device)].tolist()
    for (first, last), (start, stop) in zip(
        pairwise(bounds.tolist()), pairwise(starts), strict=True
    ):
        owner = owners_of(regions.offsets[first : last + 1], stop - start)
        form = _start(
            values[regions.corners[start:stop].long()].double(), owner, last - first, slack
        )
        for layer, after, unit in zip(double, double[1:], units[1:], strict=False):
            form = form.through(layer, after, unit)
        low, high = form.ranges()
        found.append(((low <= 0) & (high >= 0))[:, 0])
    return torch.cat(found) & chosen


def _by_gaps(
    layer: AffineLayer,
    output: AffineLayer,
    regions: Regions,
    values: Float[Tensor, "v width"],
    ulps: int,
) -> Bool[Tensor, "r"]:
    """The same if only the output comes after the layer at work."""
    corners, owner = regions.corners.long(), owners_of(regions.offsets, len(regions.corners))
    passed_on = layer.activated(values.clone())
    at_vertices = torch.addmm(output.bias, passed_on, output.weight.T).double()
    lowest, highest = _ranges(at_vertices[corners], owner, len(regions))
    low, high = _ranges(values.double()[corners], owner, len(regions))
    slack, reach = rounding_of(values, output, ulps)
    low, high = (low - slack).clamp(max=0), (high + slack).clamp(min=0)
    gaps = -low * high / (high - low).clamp(min=torch.finfo(low.dtype).tiny)
    if layer.is_linear is not None:
        gaps = gaps.masked_fill(layer.is_linear, 0)
    weight = output.weight[0].double()
    lowest = lowest[:, 0] - gaps @ weight.clamp(min=0) - reach
    highest = highest[:, 0] - gaps @ weight.clamp(max=0) + reach
    return (lowest <= 0) & (highest >= 0)


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


def _start(at_corners: Tensor, owner: Tensor, count: int, slack: Tensor) -> _Form:
    width = at_corners.shape[1]
    return _Form(
        owner, at_corners, at_corners.new_zeros(count, 0, width), slack.expand(count, width)
    )
