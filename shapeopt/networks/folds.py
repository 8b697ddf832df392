"""Piecewise-affine functions, written with ReLUs.

    |z| = 2 relu(z) - z                 max(p, q) = q + relu(p - q)
    leaky(z) = a z + (1 - a) relu(z)    clamp(z, l, u) = l + relu(z - l) - relu(z - u)

A maximum of many values is a tree of maxima of two. All tensors here are forms, or numbers.
"""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.networks.forms import Form


def relu(z: Tensor) -> Tensor:
    """0 where z is negative; z is a form."""
    assert isinstance(z, Form)
    return z.record.relu(z)


def leaky_relu(z: Tensor, slope: float | Tensor = 0.01) -> Tensor:
    """z times the slope where z is negative."""
    return z * slope + relu(z) * (1 - slope)


def prelu(z: Tensor, slope: Tensor) -> Tensor:
    """Leaky, with a slope for each channel, the second dimension."""
    if slope.numel() > 1:
        slope = slope.view(-1, *[1] * (z.ndim - 2))
    return leaky_relu(z, slope)


def absolute(z: Tensor) -> Tensor:
    """|z|."""
    return relu(z) * 2 - z


def clamp(
    z: Tensor, low: float | Tensor | None = None, high: float | Tensor | None = None
) -> Tensor:
    """z between bounds that are numbers; either may be missing.

    Raises:
        InputError: if the lower bound is not below the upper one.
    """
    if low is None:
        return z if high is None else high - relu(high - z)
    raised = relu(z - low) + low
    if high is None:
        return raised
    if bool(torch.as_tensor(low >= high).any()):
        raise InputError(f"clamp between {low} and {high}: the lower bound must be the smaller one")
    return raised - relu(z - high)


def softshrink(z: Tensor, width: float = 0.5) -> Tensor:
    """0 between - width and width, and z moved towards 0 by it elsewhere."""
    return relu(z - width) - relu(-z - width)


def hardsigmoid(z: Tensor) -> Tensor:
    """Clamped z / 6 + 1 / 2."""
    return clamp(z / 6 + 0.5, 0.0, 1.0)


def maximum(p: Tensor, q: Tensor) -> Tensor:
    """The larger one of each pair."""
    return q + relu(p - q)


def minimum(p: Tensor, q: Tensor) -> Tensor:
    """The smaller one of each pair."""
    return q - relu(q - p)


def reduced(
    z: Tensor,
    of_two: Callable[[Tensor, Tensor], Tensor],
    dim: int | Sequence[int] | None,
    keepdim: bool,
) -> Tensor:
    """Maxima or minima along dimensions; over everything if ``dim`` is None."""
    if not isinstance(dim, int):
        axes = range(z.ndim) if dim is None else [axis % z.ndim for axis in dim]
        for axis in sorted(axes, reverse=True):
            z = reduced(z, of_two, axis, keepdim)
        return z
    while (size := z.shape[dim]) > 1:
        half = size // 2
        pairs = of_two(z.narrow(dim, 0, half), z.narrow(dim, half, half))
        rest = z.narrow(dim, 2 * half, size - 2 * half)
        z = torch.cat([pairs, rest], dim=dim) if size % 2 else pairs
    return z if keepdim else z.squeeze(dim)


def max_pool(
    z: Tensor,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dimension: int,
) -> Tensor:
    """Maxima over windows of the last dimensions."""
    sides = z.shape[-dimension:]
    kernel, padding = _tuple(kernel, dimension), _tuple(padding, dimension)
    stride = kernel if stride is None or stride == () else _tuple(stride, dimension)
    # In padded windows a place beyond the border is replaced by the nearest one inside.
    along = [
        [
            [min(max(start + k, 0), side - 1) for k in range(width)]
            for start in range(-pad, side + pad - width + 1, step)
        ]
        for side, width, step, pad in zip(sides, kernel, stride, padding, strict=True)
    ]
    windows = [
        [_flat_index(place, sides) for place in product(*parts)] for parts in product(*along)
    ]
    flat = z.flatten(-dimension)[..., torch.tensor(windows, device=z.device)]
    largest = reduced(flat, maximum, -1, keepdim=False)
    return largest.unflatten(-1, [len(parts) for parts in along])


def _tuple(value: int | Sequence[int], dimension: int) -> tuple[int, ...]:
    return (value,) * dimension if isinstance(value, int) else tuple(value)


def _flat_index(place: Sequence[int], sides: Sequence[int]) -> int:
    index = 0
    for position, side in zip(place, sides, strict=True):
        index = index * side + position
    return index
