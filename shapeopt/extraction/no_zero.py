"""What an extractor says when it finds nothing, and the error that becomes of it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.errors import EmptySurfaceError
from shapeopt.networks.affine import AffineLayer, evaluate


class NoZero(Exception):
    """There is no zero of f in the box that was searched.

    Attributes:
        low, high: range of f, as far as it is known.
        searched: how it was searched, if not everywhere; then what to do next, too.
    """

    def __init__(self, low: float, high: float, searched: str | None = None):
        super().__init__()
        self.low = low
        self.high = high
        self.searched = searched


@torch.no_grad()
def no_zero_among(layers: Sequence[AffineLayer], box: Box, points: Float[Tensor, "n d"]) -> NoZero:
    """With the range of f at the points and the corners of the box."""
    ends = torch.stack([box.lower, box.upper])
    corners = torch.cartesian_prod(*ends.unbind(1)).view(-1, box.dimension)
    values = torch.cat([points, corners])
    values = evaluate(layers, values)
    return NoZero(float(values.min()), float(values.max()))


def empty_surface(none: NoZero, box: Box, output_size: float) -> EmptySurfaceError:
    """The error for the user.

    Args:
        none: in the units that the extractor worked in.
        box: that was given.
        output_size: of f in the user's units, in the extractor's.
    """
    low, high = none.low * output_size, none.high * output_size
    where = f"the box {box.lower.tolist()} to {box.upper.tolist()}"
    if none.searched is not None:
        return EmptySurfaceError(
            f"no zero of the network was found in {where}; {none.searched} f ranges from "
            f"{low:.4g} to {high:.4g}. Try a larger box (bounds=), a finer grid (seeds=), or "
            "method='subdivide', which misses nothing"
        )
    if low == 0:
        return EmptySurfaceError(
            f"the network has no surface in {where}: f ranges from 0 to {high:.4g} and is nowhere "
            "below 0, so nothing is inside. If its last step is a ReLU, leave that out"
        )
    side = "outside (f >= 0)" if low >= 0 else "inside (f < 0)"
    return EmptySurfaceError(
        f"the network has no zero in {where}: f ranges from {low:.4g} to {high:.4g}, so the whole "
        f"box is {side}. Try a larger box (bounds=), or train longer: subtracting "
        f"{(low + high) / 2:.4g} from the last bias would put a surface into the box"
    )
