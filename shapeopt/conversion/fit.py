"""A network fitted to any function: a formula, values on a grid, another network."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.complex.box import Bounds, Box, dimension_of
from shapeopt.conversion.fine_tuning import fine_tune
from shapeopt.errors import InputError
from shapeopt.networks.reading import input_dimension


class GridField(nn.Module):
    """Values on a regular grid over a box, linear along each axis in between.

    Args:
        values: at the points of the grid, corners included, the last axis running fastest.
        bounds: lower and upper corner of the box.

    Raises:
        InputError: for a grid that is not of 2 or 3 dimensions with 2 points along each at least,
            or holds values that are not finite.
    """

    def __init__(self, values: Float[Tensor, "..."], bounds: Bounds = (-0.5, 0.5)):
        super().__init__()
        if values.ndim not in (2, 3) or min(values.shape) < 2:
            raise InputError(
                f"the grid is {list(values.shape)}; it must have 2 or 3 dimensions, and at least 2 "
                "points along each"
            )
        if not bool(values.isfinite().all()):
            raise InputError("the grid holds values that are NaN or infinite")
        self.input_dimension = values.ndim
        box = Box.from_bounds(bounds, values.ndim, values.dtype, values.device)
        self.register_buffer("values", values)
        self.register_buffer("lower", box.lower)
        self.register_buffer("upper", box.upper)
        self.values: Tensor
        self.lower: Tensor
        self.upper: Tensor

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """The values at points; outside of the box those of the nearest point of it."""
        place = 2 * (x - self.lower) / (self.upper - self.lower) - 1
        # grid_sample takes the axis that runs fastest first.
        place = place.flip(1).view(1, *[1] * (self.input_dimension - 1), -1, self.input_dimension)
        found = nn.functional.grid_sample(
            self.values[None, None], place, padding_mode="border", align_corners=True
        )
        return found.view(-1, 1)


def fit(
    network: nn.Module,
    function: Callable[[Float[Tensor, "n d"]], Tensor],
    bounds: Bounds = (-0.5, 0.5),
    *,
    seconds: float,
    seed: int = 0,
) -> nn.Module:
    """Fits a network to the values of a function, mostly near its zeros.

    As :func:`shapeopt.convert` does with ``seconds=``, but for any function: a formula, a
    :class:`GridField`, a smooth network with functions that ``convert`` cannot exchange.

    Args:
        network: that is trained, in place; such as :func:`shapeopt.sdf_network`.
        function: from points ``[n, d]`` to their values, ``[n]`` or ``[n, 1]``.
        bounds: lower and upper corner of the box.
        seconds: to train for. The time decides how many steps there are, so results vary.
        seed: of the points.

    Returns:
        The network.

    Raises:
        InputError: for a time that is not positive, values of another shape, or values that are
            not finite.
    """
    if not seconds > 0:
        raise InputError(f"seconds is {seconds}; it must be positive")
    parameter = next(network.parameters())
    dimension = dimension_of(bounds) or input_dimension(network)
    box = Box.from_bounds(bounds, dimension, parameter.dtype, parameter.device)
    fine_tune(network, _Checked(function), box, seconds, seed)
    return network


class _Checked(nn.Module):
    """A function whose values are looked at."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        values = self.function(x)
        if values.numel() != len(x):
            raise InputError(
                f"the function gives {list(values.shape)} for {len(x)} points; it must give one "
                "value for each"
            )
        if not bool(values.isfinite().all()):
            raise InputError("the function gives values that are NaN or infinite in the box")
        return values.detach().to(x).view(-1, 1)
