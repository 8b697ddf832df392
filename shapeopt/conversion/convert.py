"""Smooth activations replaced by ReLUs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.complex.box import Bounds, Box, dimension_of
from shapeopt.conversion.fine_tuning import fine_tune
from shapeopt.conversion.piecewise import PiecewiseLinear, fit_pieces
from shapeopt.conversion.smooth import exchanged, smooth_modules
from shapeopt.errors import InputError
from shapeopt.networks.reading import input_dimension, read_network

TRIES = 16
MARGIN = 0.05
"""Added at both ends of a measured range, as a fraction of it."""


@dataclass(frozen=True)
class Conversion:
    """A piecewise-affine network in place of a smooth one.

    Attributes:
        network: the new one; the old one is as it was.
        relus: how many ReLUs each activation that was replaced became.
        largest_difference: between the two networks' values, measured at `samples` random points of
            the box: no bound, and in units of f.
        samples: how many points that were.
    """

    network: nn.Module
    relus: list[int]
    largest_difference: float
    samples: int


def convert(
    network: nn.Module,
    bounds: Bounds = (-0.5, 0.5),
    *,
    tolerance: float = 1e-3,
    seconds: float | None = None,
    also: tuple[type[nn.Module], ...] = (),
    samples: int = 2**15,
    seed: int = 0,
) -> Conversion:
    """Replaces the smooth activations of a network, so that its surface can be extracted.

    Each becomes a piecewise-linear function, a sum of ReLUs, on the range of what it is applied to
    in the box. All get the same tolerance, the largest of a falling sequence with which the two
    networks differ by at most `tolerance` at random points of the box.

    Args:
        network: with activations that are modules: softplus, GELU, SiLU, ELU, tanh, sigmoid,
            :class:`shapeopt.networks.activations.Sine` and others. A last tanh or sigmoid stays.
        bounds: lower and upper corner of the box.
        tolerance: of f; for a signed distance the surface moves by about that at most.
        seconds: given, each activation becomes one ReLU, and the weights are fitted to the values
            of the network for so long. The polygons are fewer, and no tolerance is held to.
        also: classes of further activations: modules that work on each number by itself.
        samples: random points of the box to compare at, and to measure ranges at.
        seed: of these points.

    Raises:
        InputError: if there is nothing to replace; if the result is not piecewise affine, as when
            functions are called that are no modules; and if the tolerance cannot be reached.
    """
    parameter = next(network.parameters())
    if parameter.dtype not in (torch.float32, torch.float64):
        raise InputError(f"the network is in {parameter.dtype}; call .float() on it first")
    dimension = dimension_of(bounds) or input_dimension(network)
    box = Box.from_bounds(bounds, dimension, parameter.dtype, parameter.device)
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(samples, dimension, generator=generator, dtype=torch.float64).to(parameter)
    points = torch.lerp(box.lower, box.upper, place)
    seen = smooth_modules(network, points, also)
    if seconds is not None:
        simple = exchanged(network, {module: nn.ReLU() for module in seen})
        _check_affine(simple, dimension)
        fine_tune(simple, network, box, seconds, seed)
        return Conversion(simple, [1] * len(seen), _difference(network, simple, points), samples)
    return _within(network, seen, points, tolerance)


def _within(
    network: nn.Module,
    seen: dict[nn.Module, Tensor],
    points: Float[Tensor, "n d"],
    tolerance: float,
) -> Conversion:
    """With as coarse pieces as the tolerance of the network's values allows."""
    of_unit = 8 * tolerance
    for _ in range(TRIES):
        by = {module: _pieces(module, part, of_unit, points) for module, part in seen.items()}
        candidate = exchanged(network, by)
        difference = _difference(network, candidate, points)
        if difference <= tolerance:
            _check_affine(candidate, points.shape[1])
            relus = [len(part.folds) for part in by.values()]
            return Conversion(candidate, relus, difference, len(points))
        of_unit *= min(max(tolerance / difference, 0.2), 0.8)
    raise InputError(
        f"the networks still differ by {difference:.3g} where a tolerance of {tolerance:.3g} was "
        "wished for; give a larger one, or the network in float64"
    )


@torch.no_grad()
def _pieces(
    module: nn.Module, seen: Float[Tensor, "k"], tolerance: float, like: Tensor
) -> PiecewiseLinear:
    low, high = seen.aminmax()
    margin = MARGIN * (high - low)
    seen = torch.cat([seen, (low - margin)[None], (high + margin)[None]])
    return fit_pieces(exchanged(module, {}).double().cpu(), seen, tolerance).to(like)


@torch.no_grad()
def _difference(one: nn.Module, two: nn.Module, points: Float[Tensor, "n d"]) -> float:
    parts = [(one(part) - two(part)).abs().amax() for part in points.split(2**13)]
    return float(torch.stack(parts).amax())


def _check_affine(network: nn.Module, dimension: int) -> None:
    try:
        read_network(network, dimension)
    except InputError as error:
        raise InputError(
            f"{error}. Activations are replaced where they are modules; make each an nn.Module in "
            "__init__, and give classes of your own in also=(YourActivation,)"
        ) from error
