"""What ``polygons.py`` has compiled for the CPU: fans, and vector areas with their gradient."""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from shapeopt.compiled import kernel


class VectorAreas(torch.autograd.Function):
    """The twin of :func:`shapeopt.mesh.polygons.vector_areas`; differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        vertices: Float64[Tensor, "v 3"],
        corners: Int64[Tensor, "m"],
        offsets: Int64[Tensor, "f_plus_1"],
    ) -> Float64[Tensor, "f 3"]:
        """Half the sum of cross products of consecutive corners."""
        ctx.save_for_backward(vertices, corners, offsets)
        arrays = (part.contiguous().numpy() for part in (vertices.detach(), corners, offsets))
        return torch.from_numpy(_areas(*arrays))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float64[Tensor, "f 3"]) -> Any:
        """To the vertices."""
        vertices, *polygons = ctx.saved_tensors
        arrays = (part.contiguous().numpy() for part in (gradient, vertices.detach(), *polygons))
        return torch.from_numpy(_pulled_back(*arrays)), None, None


@kernel
@no_type_check
def _areas(vertices, corners, offsets):
    areas = np.zeros((len(offsets) - 1, 3))
    for polygon in range(len(areas)):
        start, stop = offsets[polygon], offsets[polygon + 1]
        x, y, z = vertices[corners[start]]
        for k in range(start + 1, stop - 1):
            (a, b, c), (d, e, f) = vertices[corners[k]], vertices[corners[k + 1]]
            a, b, c, d, e, f = a - x, b - y, c - z, d - x, e - y, f - z
            areas[polygon, 0] += b * f - c * e
            areas[polygon, 1] += c * d - a * f
            areas[polygon, 2] += a * e - b * d
    return areas / 2


@kernel
@no_type_check
def _pulled_back(gradient, vertices, corners, offsets):
    """By a corner the area changes as by the chord between its neighbours, crossed with it."""
    result = np.zeros_like(vertices)
    for polygon in range(len(offsets) - 1):
        start, stop = offsets[polygon], offsets[polygon + 1]
        x, y, z = gradient[polygon]
        for k in range(start, stop):
            one = vertices[corners[k - 1 if k > start else stop - 1]]
            two = vertices[corners[k + 1 if k + 1 < stop else start]]
            a, b, c = two[0] - one[0], two[1] - one[1], two[2] - one[2]
            at = result[corners[k]]
            at[0] += (b * z - c * y) / 2
            at[1] += (c * x - a * z) / 2
            at[2] += (a * y - b * x) / 2
    return result


@kernel
@no_type_check
def fans(corners, offsets):
    """See :func:`shapeopt.mesh.polygons.fan_triangles`."""
    count, total = 0, 0
    for polygon in range(len(offsets) - 1):
        total += max(offsets[polygon + 1] - offsets[polygon] - 2, 0)
    triangles = np.empty((total, 3), np.int64)
    for polygon in range(len(offsets) - 1):
        start, stop = offsets[polygon], offsets[polygon + 1]
        for k in range(start + 1, stop - 1):
            triangles[count, 0] = corners[start]
            triangles[count, 1], triangles[count, 2] = corners[k], corners[k + 1]
            count += 1
    return triangles
