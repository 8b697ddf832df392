"""How far a surface is from the true one."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.data.reference import MeshReference, Reference
from shapeopt.data.triangle_sampling import sample_triangles
from shapeopt.evaluation.units import warn_if_unlike

DISTANCES = ("distance", "distance_to_truth", "distance_from_truth", "hausdorff")
FRACTIONS = ("normal_consistency", "precision", "recall", "f_score")


@runtime_checkable
class TriangulatedSurface(Protocol):
    """What is asked of a surface here; `PolyhedralSurface` is one."""

    @property
    def vertices(self) -> Float[Tensor, "v 3"]: ...

    def triangles(self) -> Int[Tensor, "t 3"]: ...


def evaluate(
    surface: TriangulatedSurface,
    reference: Reference,
    samples: int = 100_000,
    seed: int = 0,
    threshold: float | None = None,
) -> dict[str, float]:
    """Distances between a surface and a reference, in normalised units, and other measures.

    Both are sampled uniformly in area; distances from the samples are exact where the reference's
    are. A warning tells if the two seem to have other units, or lie far apart.

    Args:
        surface: any device; nothing is differentiated.
        reference: normalised units, too.
        samples: drawn from each of the two.
        seed: of both draws.
        threshold: within which a point counts as found; None: 1 % of the reference's longest side.

    Returns:
        distance_to_truth: mean distance from the surface's points to the reference. Large where
            the surface has what it should not have.
        distance_from_truth: the other way round. Large where something is missing.
        distance: the mean of these two, the one number to compare by.
        hausdorff: the largest distance of all samples.
        normal_consistency: mean |n . m| of a sample's normal n and the normal m at the nearest
            point of the other surface, averaged over both ways; 1 is best. Mescheder et al.,
            *Occupancy Networks* (CVPR 2019), section 4.
        precision, recall: fraction of the surface's samples within the threshold of the reference,
            and the other way round.
        f_score: their harmonic mean. Knapitsch et al., *Tanks and Temples* (SIGGRAPH 2017).

        Of an empty surface all distances are infinite and all else is 0.
    """
    vertices = surface.vertices.detach().cpu().double().numpy()
    triangles = surface.triangles().detach().cpu().long().numpy()
    if not _total_area(vertices, triangles) > 0:
        return dict.fromkeys(DISTANCES, float("inf")) | dict.fromkeys(FRACTIONS, 0.0)
    mesh = MeshReference(vertices, triangles)
    on_surface, triangle = sample_triangles(vertices, triangles, samples, seed)
    on_truth = reference.samples(samples, seed)
    warn_if_unlike(on_surface, on_truth)
    to_truth, normals_of_truth = reference.nearest(on_surface)
    from_truth, normals_of_surface = mesh.nearest(on_truth)
    found = 0.01 * float(np.ptp(on_truth, axis=0).max()) if threshold is None else threshold
    precision, recall = (float((d <= found).mean()) for d in (to_truth, from_truth))
    # The nearest normal to a sample of a surface on that same surface is the sample's own.
    ours = _consistency(mesh.triangle_normals()[triangle], normals_of_truth)
    theirs = _consistency(reference.nearest(on_truth)[1], normals_of_surface)
    return {
        "distance": float(to_truth.mean() + from_truth.mean()) / 2,
        "distance_to_truth": float(to_truth.mean()),
        "distance_from_truth": float(from_truth.mean()),
        "hausdorff": float(max(to_truth.max(), from_truth.max())),
        "normal_consistency": (ours + theirs) / 2,
        "precision": precision,
        "recall": recall,
        "f_score": 2 * precision * recall / max(precision + recall, 1e-300),
    }


def _consistency(one: Float[np.ndarray, "n 3"], two: Float[np.ndarray, "n 3"]) -> float:
    return float(np.abs((one * two).sum(axis=1)).mean())


def _total_area(vertices: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]) -> float:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
