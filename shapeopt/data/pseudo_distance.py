"""Signed distances from an oriented cloud, and the points to train a network on."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.data.cloud import BOX_SIDE, PointCloud
from shapeopt.errors import InputError


def pseudo_signed_distance(
    cloud_points: Float[Tensor, "n 3"],
    cloud_normals: Float[Tensor, "n 3"],
    queries: Float[Tensor, "q 3"],
    neighbours: int = 12,
) -> Float[Tensor, " q"]:
    """Distance to the surface that a cloud samples, negative inside; float32 on the CPU.

                 . query                near: height over the neighbours' tangent planes,
               / |                      weighted (implicit moving least squares)
        length/  | height               far: length to the nearest point, which misses the
             /   |                      surface's own closest point by lateral^2 / 2 length only
        ----*----+----*----*----

    Up to four spacings of the cloud the height counts, from eight on the length; between them
    they blend. The sign is that of the height.

    Args:
        cloud_points, cloud_normals: on the surface; unit length, pointing out. CPU.
        queries: same units, CPU.
        neighbours: how many points a height is taken from.

    Source:
        Kolluri, Provably good moving least squares, 2005 (the heights).
    """
    from scipy.spatial import cKDTree

    points, normals = cloud_points.double().numpy(), cloud_normals.double().numpy()
    # Repeated points would stand for a spacing of zero.
    _, first = np.unique(points, axis=0, return_index=True)
    points, normals = points[first], normals[first]
    neighbours = min(neighbours, len(points))
    tree = cKDTree(points)
    # On a regular cloud six neighbours are about 1.5 mesh widths away or nearer.
    spacing = tree.query(points, k=min(7, len(points)))[0][:, -1] / 1.5
    result = np.empty(len(queries), dtype=np.float32)
    # In pieces: a million queries with 12 neighbours each would take a gigabyte at once.
    for begin in range(0, len(queries), 100_000):
        piece = slice(begin, begin + 100_000)
        x = queries[piece].double().numpy()
        lengths, index = tree.query(x, k=neighbours, workers=-1)
        lengths, index = lengths.reshape(len(x), -1), index.reshape(len(x), -1)
        result[piece] = _blended(x, points, normals, spacing, lengths, index)
    return torch.from_numpy(result)


def _blended(
    x: Float[np.ndarray, "q 3"],
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    spacing: Float[np.ndarray, " n"],
    lengths: Float[np.ndarray, "q k"],
    index: Int[np.ndarray, "q k"],
) -> Float[np.ndarray, " q"]:
    """Signed distances from the neighbours found: height near, length far."""
    nearest, width = lengths[:, :1], spacing[index[:, :1]]
    # Relative to the nearest: far away, too, it is the closest few that count.
    weights = np.exp(-(lengths**2 - nearest**2) / (width**2 + 0.5 * width * nearest))
    mean = (weights[:, :, None] * normals[index]).sum(axis=1, keepdims=True)
    mean /= np.maximum(np.linalg.norm(mean, axis=2, keepdims=True), 1e-12)
    # Heights over a bent surface's tangent planes are all off to the same side. Along the sum
    # of the neighbour's and the query's own normal (the mean) they are right on any sphere.
    both = weights[:, :, None] * (normals[index] + mean)
    height = ((x[:, None] - points[index]) * both).sum(axis=(1, 2))
    height /= np.maximum((both * mean).sum(axis=(1, 2)), 1e-12)
    # No surface through the nearest point is farther away than that point.
    height = np.clip(height, -nearest[:, 0], nearest[:, 0])
    far = np.clip(nearest[:, 0] / (4 * width[:, 0]) - 1, 0, 1)
    return (1 - far) * height + far * np.copysign(nearest[:, 0], height)


def sample_training_points(
    cloud: PointCloud,
    n: int,
    seed: int,
    near_std: Sequence[float] = (0.01, 0.05),
    uniform_fraction: float = 0.2,
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """Random points in the normalised box with their pseudo signed distances.

    Args:
        cloud: what to train on.
        n: how many points.
        seed: of a generator of its own.
        near_std: the points near the surface are points of the cloud moved by a Gaussian, with
            one of these standard deviations, each as likely. Normalised units.
        uniform_fraction: fraction of points that are uniform in the box.

    Returns:
        Points (those that would lie outside are put on the box's boundary) and distances, in
        random order, float32, CPU.

    Raises:
        InputError: `uniform_fraction` is not in [0, 1], or `near_std` is empty or holds a negative
            number.
    """
    if not 0 <= uniform_fraction <= 1 or not near_std or min(near_std) < 0:
        raise InputError(
            f"uniform_fraction ({uniform_fraction}) must be between 0 and 1 and near_std "
            f"({near_std}) one or more numbers not negative"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(cloud.points), (n,), generator=generator)
    std = torch.tensor(near_std)[torch.randint(len(near_std), (n, 1), generator=generator)]
    near = cloud.points[chosen] + std * torch.randn(n, 3, generator=generator)
    uniform = BOX_SIDE * (torch.rand(n, 3, generator=generator) - 0.5)
    is_uniform = torch.rand(n, 1, generator=generator) < uniform_fraction
    points = torch.where(is_uniform, uniform, near)
    points = points.clamp(-BOX_SIDE / 2, BOX_SIDE / 2)
    return points, pseudo_signed_distance(cloud.points, cloud.normals, points)
