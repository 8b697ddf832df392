"""How far an extracted surface is from the zero set of the smooth network that it stands for."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.complex.box import Bounds, Box
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data.implicit_sampling import value_and_gradient
from shapeopt.data.normalisation import Normalisation
from shapeopt.data.reference import ImplicitReference
from shapeopt.errors import InputError
from shapeopt.evaluation.measures import evaluate

CHUNK = 2**15
STEEPEST = 1.8
"""What the function is scaled to: sampling takes gradients up to 2 in the box."""


def displacement(
    network: nn.Module,
    surface: PolyhedralSurface,
    bounds: Bounds = (-0.5, 0.5),
    samples: int = 20_000,
    seed: int = 0,
) -> dict[str, float]:
    """Two-way distance between a surface and {network = 0}, in units of the box.

    Points of {network = 0} are found in a thin shell around it and moved onto it by Newton's
    method; the nearest one to a point of the surface is found by sliding along it.

    Args:
        network: smooth, of one output in 3D, about a signed distance: its gradient has about the
            same length everywhere near the surface.
        surface: of a network that was made from it.
        bounds: lower and upper corner of the box, as for the surface.
        samples: drawn from each of the two, uniform in area.
        seed: of both draws.

    Returns:
        ``"distance_to_truth"``: mean from the surface to {network = 0}; ``"distance_from_truth"``:
        the other way round; ``"distance"``: the mean of the two; ``"hausdorff"``: the largest one
        of all samples.

    Raises:
        InputError: for a polyline, or if the network has no zero in the box.
    """
    if surface.vertices.shape[1] != 3:
        raise InputError("displacement is measured between surfaces in 3D")
    box = Box.from_bounds(bounds, 3, torch.float64, torch.device("cpu"))
    side = float((box.upper - box.lower).amax())
    unit = Normalisation((box.lower + box.upper) / 2, 1 / side)
    double = copy.deepcopy(network).double().cpu()

    def values(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return torch.cat([double(part)[:, 0] for part in unit.undo(points).split(CHUNK)])

    generator = torch.Generator().manual_seed(seed)
    probe = torch.rand(CHUNK, 3, generator=generator, dtype=torch.float64) - 0.5
    at, gradients = value_and_gradient(values, probe)
    if bool((at > 0).all()) or bool((at < 0).all()):
        raise InputError(f"the network has one sign at {CHUNK:,} random points of the box")
    factor = STEEPEST / gradients.norm(dim=1).amax()
    original = ImplicitReference(lambda points: values(points) * factor)
    with torch.no_grad():
        moved = surface.scaled_and_moved(1 / side, -unit.center / side)
    measured = evaluate(moved, original, samples, seed)
    names = ("distance", "distance_to_truth", "distance_from_truth", "hausdorff")
    return {name: measured[name] * side for name in names}
