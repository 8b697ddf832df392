"""Points on triangles by the weights of their corners."""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from shapeopt.compiled import kernel


def points_on(
    vertices: Float[Tensor, "v 3"],
    corners: Int64[Tensor, "n 3"],
    weights: Float64[Tensor, "n 3"],
) -> Float[Tensor, "n 3"]:
    """``sum_k weights[k] * vertices[corners[k]]``, with the graph of the vertices."""
    if vertices.device.type == "cpu" and vertices.dtype == torch.float64:
        return _PointsOn.apply(vertices, corners, weights)
    return (weights.to(vertices)[:, :, None] * vertices[corners]).sum(dim=1)


def drawn_on(
    vertices: Float64[np.ndarray, "v 3"],
    triangles: Int64[np.ndarray, "t 3"],
    numbers: Float64[np.ndarray, "3 n"],
) -> tuple[Int64[np.ndarray, "n"], Float64[np.ndarray, "n 3"]]:
    """Points uniform in area, one in each n-th part of it: less noise than independent draws.

    Args:
        numbers: uniform in [0, 1); the first row decides where in its part a point lies, the others
            where in its triangle.

    Returns:
        The triangle of each point, and its weights.
    """
    return _drawn(vertices, triangles, numbers)


class _PointsOn(torch.autograd.Function):
    """Compiled for the CPU; differentiable once."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
        ctx.num_vertices = len(vertices)
        ctx.save_for_backward(corners, weights)
        arrays = (part.contiguous().numpy() for part in (vertices.detach(), corners, weights))
        return torch.from_numpy(_combined(*arrays))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """To the vertices."""
        given = (part.contiguous().numpy() for part in (gradient, *ctx.saved_tensors))
        return torch.from_numpy(_spread(ctx.num_vertices, *given)), None, None


@kernel
@no_type_check
def _combined(vertices, corners, weights):
    points = np.zeros((len(corners), 3))
    for i in range(len(corners)):
        for k in range(3):
            for axis in range(3):
                points[i, axis] += weights[i, k] * vertices[corners[i, k], axis]
    return points


@kernel
@no_type_check
def _spread(num_vertices, gradient, corners, weights):
    """What the gradient to points is to the vertices."""
    result = np.zeros((num_vertices, 3))
    for i in range(len(corners)):
        for k in range(3):
            for axis in range(3):
                result[corners[i, k], axis] += weights[i, k] * gradient[i, axis]
    return result


@kernel
@no_type_check
def _drawn(vertices, triangles, numbers):
    areas = np.empty(len(triangles))
    total = 0.0
    for t in range(len(triangles)):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        u, v, w = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        x, y, z = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        total += np.sqrt((v * z - w * y) ** 2 + (w * x - u * z) ** 2 + (u * y - v * x) ** 2)
        areas[t] = total
    count, triangle = numbers.shape[1], 0
    chosen, weights = np.empty(count, np.int64), np.empty((count, 3))
    for i in range(count):
        place = (i + numbers[0, i]) / count * total
        while triangle + 1 < len(areas) and areas[triangle] < place:
            triangle += 1
        # The square root makes barycentric coordinates uniform (Osada et al. 2002, section 4.2).
        root, share = np.sqrt(numbers[1, i]), numbers[2, i]
        chosen[i] = triangle
        weights[i, 0], weights[i, 1], weights[i, 2] = 1 - root, root * (1 - share), root * share
    return chosen, weights
