"""Normals for clouds that come without: planes through neighbours, turned to face out."""

import numpy as np
from jaxtyping import Float

from shapeopt.data.orientation import outward_signs
from shapeopt.data.outliers import stray_points
from shapeopt.errors import InputError


def estimate_normals(
    points: Float[np.ndarray, "n 3"], neighbours: int = 12
) -> Float[np.ndarray, "n 3"]:
    """Unit normals, float64, pointing out of the solid.

    Fits a plane to each point's nearest neighbours (principal component analysis; Hoppe et al.,
    Surface Reconstruction from Unorganized Points, 1992) and decides all their directions together
    (see `orientation.py`). Repeated points count once. Stray points take no part and get the
    normal of the nearest point that does.

    Args:
        points: any units, at least 4 different ones.
        neighbours: points in a plane fit, the point itself among them. More smooths noise,
            fewer keep detail.

    Raises:
        InputError: fewer than 3 neighbours.
    """
    from scipy.spatial import cKDTree

    if neighbours < 3:
        raise InputError(f"neighbours is {neighbours}; a plane needs at least 3")
    unique, place = np.unique(points.astype(np.float64), axis=0, return_inverse=True)
    # About the middle and at unit size: products of small differences stay away from rounding.
    unique = (unique - unique.mean(axis=0)) / np.ptp(unique, axis=0).max()
    belongs = ~stray_points(unique)
    core = unique[belongs]
    tree = cKDTree(core)
    _, nearest = tree.query(core, k=min(neighbours, len(core)))
    spread = core[nearest] - core[nearest].mean(axis=1, keepdims=True)
    # The direction of least variance; eigh sorts eigenvalues upwards.
    _, vectors = np.linalg.eigh(np.swapaxes(spread, 1, 2) @ spread)
    axes = vectors[:, :, 0]
    normals = axes * outward_signs(core, axes)[:, None]
    return normals[tree.query(unique)[1]][place.reshape(-1)]
