"""Area-uniform random points on the zero set of a smooth function."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

ImplicitFunction = Callable[[Tensor], Tensor]  # [n, 3] -> [n], negative inside


def value_and_gradient(
    sdf: ImplicitFunction, points: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
    """The function and its gradient at each point, both detached."""
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        values = sdf(points)
        (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients


def project(
    sdf: ImplicitFunction, points: Float[Tensor, "n 3"], iterations: int = 6
) -> Float[Tensor, "n 3"]:
    """Moves points near the zero set onto it, by Newton's method along the gradient."""
    for _ in range(iterations):
        values, gradients = value_and_gradient(sdf, points)
        points = points - (values / gradients.square().sum(dim=1))[:, None] * gradients
    return points


def sample_implicit(
    sdf: ImplicitFunction,
    n: int,
    seed: int,
    bounds: tuple[float, float] = (-0.5, 0.5),
    shell: float = 0.004,
) -> Float[Tensor, "n 3"]:
    """Draws `n` points on {sdf = 0}, uniform in area, and exact up to rounding.

    Points uniform in a thin shell around the surface are moved to the surface. To first order
    the shell is as much too thick on one side as it is too thin on the other, so the density
    is off by K shell^2 / 3 only, K the Gaussian curvature.

    Args:
        sdf: negative inside, gradient of length at most 2 in the box and not 0 near the surface.
        n: how many points.
        seed: of a generator of its own; the global random state stays as it is.
        bounds: of the cube that holds the surface, in the function's units.
        shell: half the thickness of the shell, in the function's units.

    Returns:
        The points, float64, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    corners, side = _cells_near_surface(sdf, bounds, shell)
    found: list[Tensor] = []
    missing = n
    while missing > 0:
        cells = torch.randint(len(corners), (4 * missing + 1000,), generator=generator)
        jitter = torch.rand(len(cells), 3, generator=generator, dtype=torch.float64)
        points = corners[cells] + side * jitter
        values, gradients = value_and_gradient(sdf, points)
        # value / slope: the distance to the surface, to first order.
        inside_shell = values.abs() < shell * gradients.norm(dim=1)
        found.append(project(sdf, points[inside_shell][:missing]))
        missing -= len(found[-1])
    return torch.cat(found)


def _cells_near_surface(
    sdf: ImplicitFunction, bounds: tuple[float, float], shell: float, resolution: int = 64
) -> tuple[Float[Tensor, "c 3"], float]:
    """Lower corners and side of the grid cells that can meet the shell: a tenth, usually."""
    low, high = bounds
    side = (high - low) / resolution
    axis = low + side * torch.arange(resolution, dtype=torch.float64)
    corners = torch.cartesian_prod(axis, axis, axis)
    reach = side * 3**0.5 / 2 + shell
    with torch.no_grad():
        near = sdf(corners + side / 2).abs() < 2 * reach
    return corners[near], side
