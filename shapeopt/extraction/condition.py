"""A network and its box at the origin and at unit size, and the way back.

The zero set of f moves with its box, and does not depend on a positive factor of f or, since
relu(a z) = a relu(z), of a neuron. So before anything else the box is moved to the origin if it is
far from it, and box and neurons are brought to size 1. Rounding is then relative to the shape, and
nothing overflows. All factors are powers of two: an ordinary network comes out bit for bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.networks.affine import AffineLayer

FAR = 4.0
"""A box is moved if its middle is further from the origin than this many times its half side."""

ORDINARY = 64
"""Weights whose sizes, multiplied over all layers, stay within 2 to this power are left alone."""


@dataclass(frozen=True)
class Conditioned:
    """A network and its box where rounding does least harm.

    A point u there is at ``origin + size * u`` in the box that was given, and f there is
    ``output_size`` times what it is here.

    Attributes:
        layers: in float64, with the graph of those given.
        weights_in: the dtype of those given.
        box: in float64.
        given: the box that was given.
        origin: float64.
        size: a power of two.
        is_moved: whether the origin is not 0.
        output_size: a power of two for each output.
    """

    layers: list[AffineLayer]
    weights_in: torch.dtype
    box: Box
    given: Box
    origin: Float[Tensor, "d"]
    size: float
    is_moved: bool
    output_size: Float[Tensor, "out"]

    def apply_points(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Points of the box that was given, here: in float64, without graph.

        Raises:
            InputError: for points of another dimension.
        """
        if points.ndim != 2 or points.shape[1] != len(self.origin):
            raise InputError(
                f"seeds must be points [n, {len(self.origin)}], not {list(points.shape)}"
            )
        return (points.detach().to(self.origin) - self.origin) / self.size

    def undo_points(self, points: Float[Tensor, "v d"]) -> Float[Tensor, "v d"]:
        """Points back in the box that was given, in its dtype, with or without graph.

        What is exactly on a plane of the box is so there: no bound is moved by rounding, since the
        middle of a far box is within a factor 2 of it (Sterbenz, *Floating-point computation*,
        1974, theorem 4.3.1).
        """
        if self.is_moved:
            points = self.origin + self.size * points.double()
        elif self.size != 1:
            points = self.size * points
        return points.to(self.given.lower.dtype)

    def undo(self, surface: PolyhedralSurface) -> PolyhedralSurface:
        """A surface back in the box that was given, in its dtype."""
        return replace(
            surface,
            vertices=self.undo_points(surface.vertices),
            face_normals=surface.face_normals.to(self.given.lower.dtype),
        )


def condition(layers: Sequence[AffineLayer], box: Box) -> Conditioned:
    """The network and its box at the origin and at unit size."""
    unit, origin, size = _unit_box(box)
    is_moved = bool(origin.any())
    origin = origin.to(box.lower.device) if is_moved else torch.zeros_like(unit.lower)

    first = layers[0]
    weight, bias = first.weight.double(), first.bias.double()
    bias = _moved_bias(weight, bias, origin) if is_moved else bias
    encoding = None if first.encoding is None else first.encoding.map(Tensor.double)
    weight = weight if size == 1 else weight * size
    scaled = [AffineLayer(weight, bias, first.is_linear, encoding)]
    scaled += [layer.map(Tensor.double) for layer in layers[1:]]
    scaled, output_size = _at_unit_size(scaled)
    changed = unit, box, origin, size, is_moved, output_size
    return Conditioned(scaled, first.weight.dtype, *changed)


def _unit_box(box: Box) -> tuple[Box, Float[Tensor, "d"], float]:
    """The box at the origin and at unit size, its origin (on the host), and its size."""
    # In Python's numbers: on a tensor of six each operation takes as long as on one of a thousand.
    lower, upper = torch.stack([box.lower, box.upper]).tolist()
    origin = [_far_middle(*ends) for ends in zip(lower, upper, strict=True)]
    corners = [[x - o for x, o in zip(corner, origin, strict=True)] for corner in (lower, upper)]
    size = 2.0 ** math.frexp(max(abs(x) for corner in corners for x in corner))[1]
    unit = torch.tensor(corners, dtype=torch.float64, device=box.lower.device) / size
    return Box(*unit), torch.tensor(origin, dtype=torch.float64), size


def _far_middle(lower: float, upper: float) -> float:
    """The middle of an interval if it is far from the origin, 0 otherwise."""
    middle, half = (lower + upper) / 2, (upper - lower) / 2
    return middle if abs(middle) > FAR * half else 0.0


def _moved_bias(
    weight: Float[Tensor, "w d"], bias: Float[Tensor, "w"], origin: Float[Tensor, "d"]
) -> Float[Tensor, "w"]:
    """``bias + weight @ origin``, correctly rounded but for a last bit, with graph.

    The terms may be millions of times the sum: their rounding is kept and added at the end (Ogita,
    Rump and Oishi, *Accurate sum and dot product*, SIAM J. Sci. Comput. 2005, algorithm 5.3).
    """
    total, lost = bias.detach(), torch.zeros_like(bias)
    for column, x in zip(weight.detach().unbind(1), origin, strict=True):
        product, product_error = _product(column, x)
        total, sum_error = _sum(total, product)
        lost = lost + (product_error + sum_error)
    rough = bias + weight @ origin
    return rough + (total + lost - rough).detach()


def _sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded sum and exactly what rounding took from it (Knuth's two-sum)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded product and exactly what rounding took from it (Dekker's two-product)."""
    product = a * b
    a_high, b_high = _high_half(a), _high_half(b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (
        ((product - a_high * b_high) - a_low * b_high) - a_high * b_low
    )


def _high_half(a: Tensor) -> Tensor:
    """The upper 26 bits of the 53 of a float64 (Veltkamp)."""
    spread = a * (2.0**27 + 1)
    return spread - (spread - a)


def _at_unit_size(layers: list[AffineLayer]) -> tuple[list[AffineLayer], Float[Tensor, "out"]]:
    """Every neuron times a power of two that brings its largest weight to size 1.

    Returns the layers and how much larger each output was.
    """
    if _largest_exponents(layers).sum() <= ORDINARY:
        return layers, torch.ones_like(layers[-1].bias.detach())
    weight = layers[0].weight
    before = torch.zeros(weight.shape[1], dtype=torch.int32, device=weight.device)
    result = []
    for layer in layers:
        weight, bias = layer.weight, layer.bias
        _, parts = torch.frexp(weight.detach())
        parts = torch.where(weight.detach() == 0, torch.iinfo(parts.dtype).min // 2, parts + before)
        of_bias = torch.frexp(bias.detach()).exponent
        own = torch.where(bias.detach() == 0, torch.iinfo(parts.dtype).min // 2, of_bias)
        own = torch.maximum(parts.amax(dim=1), own)
        own = torch.where(own < -(2**20), 0, own)  # a neuron that is 0
        weight = _times_power(weight, before[None] - own[:, None])
        result.append(layer._replace(weight=weight, bias=_times_power(bias, -own)))
        before = own
    return result, _times_power(torch.ones_like(result[-1].bias.detach()), before)


def _largest_exponents(layers: Sequence[AffineLayer]) -> Int[np.ndarray, "layers"]:
    """How far from 1 the sizes of each layer's neurons are at most, in powers of two.

    By numpy: a step of training waits for each operation, however little there is to do.
    """
    widths, inputs = zip(*(layer.weight.shape for layer in layers), strict=True)
    rows = np.repeat(inputs, widths)
    weights, biases = zip(*(layer[:2] for layer in layers), strict=True)
    numbers = torch.cat([part.detach().flatten() for part in (*weights, *biases)])
    of_weights, of_biases = np.split(numbers.abs().cpu().numpy(), [rows.sum()])
    sizes = np.maximum(np.maximum.reduceat(of_weights, np.cumsum(rows) - rows), of_biases)
    return np.maximum.reduceat(np.abs(np.frexp(sizes)[1]), np.cumsum(widths) - widths)


def _times_power(numbers: Tensor, exponents: Tensor) -> Tensor:
    """``numbers * 2^exponents``, exact as long as the result is a normal float64."""
    half = torch.div(exponents, 2, rounding_mode="floor")
    return numbers * _power(half) * _power(exponents - half)


def _power(exponents: Tensor) -> Float[Tensor, "..."]:
    """2 to exponents between -1022 and 1023, by its bits: exp2 may be off by one."""
    clamped = exponents.long().clamp(-1022, 1023)
    return ((clamped + 1023) << 52).view(torch.float64)
