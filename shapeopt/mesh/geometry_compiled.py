"""Edge lengths, dihedral angles and directions with their gradients, compiled for the CPU.

The twins of what ``polygon_mesh.py`` and ``safe_norm.py`` have in torch, in 3D: differentiable
once, and computed in float64, lengths and angles of float32 as well.
"""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from shapeopt.compiled import kernel, small_kernel

SMALL, LARGE = 1e-140, 1e140
"""Numbers between these can be squared, and their squares added."""


class EdgeLengths(torch.autograd.Function):
    """The length of each edge; one of length 0 has gradient 0."""

    @staticmethod
    def forward(
        ctx: Any, vertices: Float[Tensor, "v 3"], edges: Int64[Tensor, "e 2"]
    ) -> Float[Tensor, "e"]:
        ctx.save_for_backward(vertices, edges)
        return torch.from_numpy(_lengths(_array(vertices), _array(edges))).to(vertices.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "e"]) -> Any:
        """To the vertices."""
        found = _lengths_back(*map(_array, (gradient, *ctx.saved_tensors)))
        return torch.from_numpy(found).to(gradient.dtype), None


class DihedralAngles(torch.autograd.Function):
    """The angle between the normals of the two polygons at each of some edges; at a flat one it has
    gradient 0."""

    @staticmethod
    def forward(
        ctx: Any, normals: Float[Tensor, "f 3"], faces: Int64[Tensor, "i 2"]
    ) -> Float[Tensor, "i"]:
        ctx.save_for_backward(normals, faces)
        return torch.from_numpy(_angles(_array(normals), _array(faces))).to(normals.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "i"]) -> Any:
        """To the normals."""
        found = _angles_back(*map(_array, (gradient, *ctx.saved_tensors)))
        return torch.from_numpy(found).to(gradient.dtype), None


class Unit(torch.autograd.Function):
    """Each row at length 1, however long or short it is; a row of zeros stays, with gradient 0."""

    @staticmethod
    def forward(ctx: Any, vectors: Float64[Tensor, "n 3"]) -> Float64[Tensor, "n 3"]:
        ctx.save_for_backward(vectors)
        return torch.from_numpy(_unit(_array(vectors)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float64[Tensor, "n 3"]) -> Any:
        """To the vectors."""
        return torch.from_numpy(_unit_back(*map(_array, (gradient, *ctx.saved_tensors))))


def _array(part: Tensor) -> np.ndarray:
    """In float64, if it is not of integers."""
    part = part.detach().double() if part.is_floating_point() else part
    return part.contiguous().numpy()


@small_kernel
@no_type_check
def _edge(vertices, edges, edge):
    """From an edge's first vertex to its second, and how far that is."""
    one, two = vertices[edges[edge, 0]], vertices[edges[edge, 1]]
    x, y, z = two[0] - one[0], two[1] - one[1], two[2] - one[2]
    return x, y, z, np.sqrt(x * x + y * y + z * z)


@kernel
@no_type_check
def _lengths(vertices, edges):
    lengths = np.empty(len(edges))
    for edge in range(len(edges)):
        lengths[edge] = _edge(vertices, edges, edge)[3]
    return lengths


@kernel
@no_type_check
def _lengths_back(gradient, vertices, edges):
    result = np.zeros_like(vertices)
    for edge in range(len(edges)):
        x, y, z, length = _edge(vertices, edges, edge)
        if length > 0:
            share = gradient[edge] / length
            one, two = result[edges[edge, 0]], result[edges[edge, 1]]
            one[0] -= share * x
            one[1] -= share * y
            one[2] -= share * z
            two[0] += share * x
            two[1] += share * y
            two[2] += share * z
    return result


@small_kernel
@no_type_check
def _cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@small_kernel
@no_type_check
def _sine_and_cosine(one, two):
    """Of the angle between normals, and the direction that it turns about, times the sine."""
    x, y, z = _cross(one, two)
    cosine = one[0] * two[0] + one[1] * two[1] + one[2] * two[2]
    return np.sqrt(x * x + y * y + z * z), cosine, (x, y, z)


@kernel
@no_type_check
def _angles(normals, faces):
    angles = np.empty(len(faces))
    for edge in range(len(faces)):
        sine, cosine, _ = _sine_and_cosine(normals[faces[edge, 0]], normals[faces[edge, 1]])
        # Beside a polygon without a normal both are 0, and the edge counts as flat.
        angles[edge] = np.arctan2(sine, cosine) if sine != 0 or cosine != 0 else 0.0
    return angles


@kernel
@no_type_check
def _angles_back(gradient, normals, faces):
    """The angle is atan2(sine, cosine), of normals that are free to change their lengths."""
    result = np.zeros_like(normals)
    for edge in range(len(faces)):
        first, second = faces[edge, 0], faces[edge, 1]
        one, two = normals[first], normals[second]
        sine, cosine, axis = _sine_and_cosine(one, two)
        squared = sine * sine + cosine * cosine
        if sine == 0:
            continue
        by_sine, by_cosine = gradient[edge] * cosine / squared, -gradient[edge] * sine / squared
        of_one, of_two = _cross(two, axis), _cross(axis, one)
        for k in range(3):
            result[first, k] += by_sine * of_one[k] / sine + by_cosine * two[k]
            result[second, k] += by_sine * of_two[k] / sine + by_cosine * one[k]
    return result


@small_kernel
@no_type_check
def _scaled(vector):
    """A vector times a power of two that its squares can be added after, and that power."""
    size = max(abs(vector[0]), abs(vector[1]), abs(vector[2]))
    power = 1.0
    if 0 < size < np.inf:
        while size * power < SMALL:
            power *= 2.0**64
        while size * power > LARGE:
            power /= 2.0**64
    return vector[0] * power, vector[1] * power, vector[2] * power, power


@kernel
@no_type_check
def _unit(vectors):
    result = np.zeros_like(vectors)
    for row in range(len(vectors)):
        x, y, z, _ = _scaled(vectors[row])
        length = np.sqrt(x * x + y * y + z * z)
        if length != 0:
            result[row, 0], result[row, 1], result[row, 2] = x / length, y / length, z / length
    return result


@kernel
@no_type_check
def _unit_back(gradient, vectors):
    """What is left of the gradient at right angles to the vector, by its length."""
    result = np.zeros_like(vectors)
    for row in range(len(vectors)):
        x, y, z, power = _scaled(vectors[row])
        length = np.sqrt(x * x + y * y + z * z)
        if length == 0:
            continue
        x, y, z = x / length, y / length, z / length
        u, v, w = gradient[row]
        along = u * x + v * y + w * z
        result[row, 0] = (u - along * x) / length * power
        result[row, 1] = (v - along * y) / length * power
        result[row, 2] = (w - along * z) / length * power
    return result
