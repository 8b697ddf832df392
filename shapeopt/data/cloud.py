"""A point cloud with normals, moved and scaled into the box that networks are trained in."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.data.normalisation import Normalisation
from shapeopt.data.reference import Reference
from shapeopt.errors import InputError

BOX_SIDE = 1.0  # of the normalised box, [-0.5, 0.5]^3


@dataclass(frozen=True)
class PointCloud:
    """Oriented points in the normalised box [-0.5, 0.5]^3, and the way back.

    Attributes:
        points: float32, CPU, normalised units.
        normals: float32, CPU, unit length, pointing out.
        normalisation: the way from the input to here, and back.
        reference: what to measure a result against, in normalised units.

    Raises:
        InputError: fewer than 4 points, values that are not finite, normals not of length 1.
    """

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    normalisation: Normalisation
    reference: Reference | None = None

    def __post_init__(self) -> None:
        check_points(self.points.numpy())
        if not torch.allclose(self.normals.norm(dim=1), torch.ones(1), atol=1e-3):
            raise InputError("the normals of a PointCloud must have length 1; use normalise()")


def normalise(points: np.ndarray, normals: np.ndarray, margin: float = 0.05) -> PointCloud:
    """Centres a cloud and scales it uniformly into [-0.5, 0.5]^3. No reference is attached.

    Args:
        points: [n, 3], input units.
        normals: [n, 3], pointing out. Any length but 0; a warning tells if they are far from 1.
        margin: room left on both ends of the longest side, as a fraction of the box's side.

    Raises:
        InputError: fewer than 4 points, no extent, values that are not finite, zero normals.
    """
    if not 0 <= margin < 0.5:
        raise InputError(f"margin is {margin}; it must be at least 0 and less than 0.5")
    check_points(points)
    normals = unit_normals(normals, count=len(points))
    points = points.astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    center = (low + high) / 2
    scale = (1 - 2 * margin) * BOX_SIDE / float((high - low).max())
    return PointCloud(
        points=torch.from_numpy((points - center) * scale).float(),
        normals=torch.from_numpy(normals).float(),
        normalisation=Normalisation(torch.from_numpy(center), scale),
    )


def check_points(points: np.ndarray) -> None:
    """Raises InputError, saying what is wrong, unless `points` can be a cloud."""
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"points must be [n, 3], not {list(points.shape)}")
    if len(points) < 4:
        raise InputError(f"the cloud has {len(points)} points; a surface needs at least 4")
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise InputError(
            f"{bad.sum()} of {len(points)} points are NaN or infinite, the first in row "
            f"{bad.argmax()} (counted from 0); remove these rows"
        )
    if not np.ptp(points, axis=0).max() > 0:
        raise InputError(f"all {len(points)} points are at the same place; there is no shape")


def unit_normals(normals: np.ndarray, count: int) -> Float[np.ndarray, "n 3"]:
    """Normals of length 1, float64; warns if they were not close to that.

    Raises:
        InputError: the wrong number of normals, or normals that are zero, NaN or infinite.
    """
    if normals.shape != (count, 3):
        raise InputError(f"normals must be [{count}, 3] like the points, not {list(normals.shape)}")
    lengths = np.linalg.norm(normals.astype(np.float64), axis=1)
    bad = ~(np.isfinite(lengths) & (lengths > 1e-12))
    if bad.any():
        raise InputError(
            f"{bad.sum()} of {count} normals are zero, NaN or infinite, the first in row "
            f"{bad.argmax()} (counted from 0); leave the normals out to have them estimated"
        )
    off = np.abs(lengths - 1) > 1e-2
    if off.any():
        warnings.warn(
            f"{off.sum()} of {count} normals do not have length 1 (from {lengths.min():.3g} to "
            f"{lengths.max():.3g}); they are scaled to it",
            stacklevel=3,
        )
    return normals / lengths[:, None]
