"""How far a surface is from the true one."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.data.reference import MeshReference, Reference
from shapeopt.data.triangle_sampling import sample_triangles


@runtime_checkable
class TriangulatedSurface(Protocol):
    """What is asked of a surface here; `PolyhedralSurface` is one."""

    @property
    def vertices(self) -> Float[Tensor, "v 3"]: ...

    def triangles(self) -> Int[Tensor, "t 3"]: ...


def evaluate(
    surface: TriangulatedSurface, reference: Reference, samples: int = 100_000, seed: int = 0
) -> dict[str, float]:
    """Distances between a surface and a reference, in normalised units.

    Both are sampled uniformly in area; the distances from the samples are exact where the
    reference's are.

    Args:
        surface: any device; nothing is differentiated.
        reference: normalised units, too.
        samples: drawn from each of the two.
        seed: of both draws.

    Returns:
        distance_to_truth: mean distance from the surface's points to the reference. Large where
            the surface has what it should not have.
        distance_from_truth: the other way round. Large where something is missing.
        distance: the mean of these two, the one number to compare by.
        hausdorff: the largest distance of all samples.

        All are infinite if the surface is empty.
    """
    vertices = surface.vertices.detach().cpu().double().numpy()
    triangles = surface.triangles().detach().cpu().long().numpy()
    if not _total_area(vertices, triangles) > 0:
        names = ("distance", "distance_to_truth", "distance_from_truth", "hausdorff")
        return dict.fromkeys(names, float("inf"))
    on_surface, _ = sample_triangles(vertices, triangles, samples, seed)
    to_truth = reference.distance(on_surface)
    from_truth = MeshReference(vertices, triangles).distance(reference.samples(samples, seed))
    return {
        "distance": float(to_truth.mean() + from_truth.mean()) / 2,
        "distance_to_truth": float(to_truth.mean()),
        "distance_from_truth": float(from_truth.mean()),
        "hausdorff": float(max(to_truth.max(), from_truth.max())),
    }


def _total_area(vertices: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]) -> float:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
