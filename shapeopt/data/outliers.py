"""Points that belong to no surface."""

import numpy as np
from jaxtyping import Bool, Float

NEIGHBOURS = 12
LOCALLY, OVERALL = 3.0, 5.0


def stray_points(points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Points that lie apart: far from their neighbours, measured by how far those lie from theirs.

    A point is stray if the mean distance to its 12 nearest neighbours is more than three times the
    median of theirs, or five times what 95 % of the cloud have: far outliers are each other's
    neighbours. So a density that changes slowly, as in a scan from afar, makes no point stray.

    Args:
        points: any units, no two at one place.
    """
    from scipy.spatial import cKDTree

    if len(points) <= 2 * NEIGHBOURS:
        return np.zeros(len(points), dtype=bool)
    distances, nearest = cKDTree(points).query(points, k=NEIGHBOURS + 1)
    mean = distances[:, 1:].mean(axis=1)
    apart = mean > LOCALLY * np.median(mean[nearest[:, 1:]], axis=1)
    return apart | (mean > OVERALL * np.quantile(mean, 0.95))
