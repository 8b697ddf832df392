"""Area-uniform random points on triangles."""

import numpy as np
from jaxtyping import Float, Int


def sample_triangles(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "t 3"], n: int, seed: int
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Draws `n` points, each triangle in proportion to its area.

    Returns:
        The points, float64 in the units of `vertices`, and the triangle each lies on. The area
        must not be zero everywhere.
    """
    rng = np.random.default_rng(seed)
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    cumulative = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    chosen = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], n), side="right")
    chosen = np.minimum(chosen, len(faces) - 1)
    # The square root makes barycentric coordinates uniform (Osada et al. 2002, section 4.2).
    root, v = np.sqrt(rng.uniform(size=(n, 1))), rng.uniform(size=(n, 1))
    points = (1 - root) * a[chosen] + root * (1 - v) * b[chosen] + root * v * c[chosen]
    return points, chosen
