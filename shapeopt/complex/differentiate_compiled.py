"""Vertices and normals as functions of the weights, as in ``differentiate.py``, for the CPU.

Between the matrix products compiled loops pick, mask and solve. In 3D, in float64, and for networks
without encoding. What neurons have at the vertices (or in the regions) lies in the columns of
``[width, v]``: with rows of 16, 32 or 64 numbers the products took twice as long.
"""

from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float64, Int, Int32
from torch import Tensor
from torch.autograd.function import once_differentiable

from shapeopt.compiled import kernel, small_kernel
from shapeopt.complex.at_vertices import AtVertices
from shapeopt.complex.box import Box
from shapeopt.complex.signs import Constraints
from shapeopt.networks.affine import AffineLayer

EPS = np.finfo(np.float64).eps


def newton_step(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float64[Tensor, "v 3"],
    zeros: Int[Tensor, "v 3"],
    plus_bits: Int32[Tensor, "v words"],
    rows: Float64[Tensor, "v 3 3"],
    *,
    longest: float,
    sums_in: torch.dtype,
) -> Float64[Tensor, "v 3"]:
    """The vertices after a step to where their constraints are 0, with graph; see
    :func:`shapeopt.complex.differentiate.differentiable_vertices`.

    Args:
        rows: gradients of the constraints.
        longest: of steps; a vertex that would go further stays.
        sums_in: of the backward pass.
    """
    corners = _array(torch.stack([box.lower, box.upper]))
    cells = _array(zeros), _array(plus_bits.view(torch.uint32))
    residual, inputs = _residual(layers, constraints, vertices, *cells)
    where = cells[0], constraints.num_neurons, corners
    stepped, inverses = _stepped(_array(vertices), *where, _array(rows), residual, longest)
    inputs = [part.to(sums_in) for part in inputs]
    return _OfWeights.apply(constraints, stepped, (*cells, inverses), inputs, *_weights(layers))


def solved_vertices(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    vertices: Float64[Tensor, "v 3"],
    zeros: Int[Tensor, "v 3"],
    plus_bits: Int32[Tensor, "v words"],
    known: AtVertices,
) -> Float64[Tensor, "v 3"]:
    """The vertices, which lie where their constraints are 0, with graph.

    Args:
        known: of the network there, with the outputs; the backward pass is in their dtype.
    """
    cells = _array(zeros), _array(plus_bits.view(torch.uint32))
    outputs = known.outputs.split(constraints.widths[:-1], dim=1)
    positions = vertices.detach().T.to(known.outputs.dtype).contiguous()
    inputs = [positions, *(part.T for part in outputs)]
    given = _array(vertices), (*cells, _inverses(_array(known.rows))), inputs
    return _OfWeights.apply(constraints, *given, *_weights(layers))


def gradients(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    plus_bits: Int32[Tensor, "n words"],
    sums_in: torch.dtype,
) -> Float64[Tensor, "n 3"]:
    """The gradient of the output in regions, with graph; see
    :func:`shapeopt.complex.differentiate.affine_gradients`."""
    signs = _array(plus_bits.view(torch.uint32))
    return _Gradients.apply(constraints, signs, sums_in, *(layer.weight for layer in layers))


def _weights(layers: Sequence[AffineLayer]) -> list[Tensor]:
    return [part for layer in layers for part in (layer.weight, layer.bias)]


@torch.no_grad()
def _residual(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    vertices: Float64[Tensor, "v 3"],
    zeros: np.ndarray,
    signs: np.ndarray,
) -> tuple[np.ndarray, list[Float64[Tensor, "_ v"]]]:
    """The values of the neurons that are to be 0, and what each layer gets."""
    residual, inputs = np.zeros((len(vertices), 3)), [vertices.detach().T.contiguous()]
    for layer, (weight, bias, _, _) in enumerate(layers):
        values = torch.addmm(bias[:, None], weight, inputs[-1])
        _pick(values.numpy(), zeros, constraints.first_neuron(layer), residual)
        if layer + 1 < len(layers):
            _mask(values.numpy(), signs, constraints.words(layer).start)
            inputs.append(values)
    return residual, inputs


class _OfWeights(torch.autograd.Function):
    """Vertices that are solutions of their equations, as a function of weights and biases.

    Differentiable once: the second derivative of a step at fixed equations is another one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        constraints: Constraints,
        vertices: np.ndarray,
        cells: tuple[np.ndarray, ...],
        inputs: Sequence[Tensor],
        *parameters: Tensor,
    ) -> Float64[Tensor, "v 3"]:
        """The vertices as they are.

        Args:
            cells: zeros and signs of the vertices, and the inverses of their zeros' gradients.
            inputs: what each layer gets there, [in, v]; in the dtype of the backward pass.
        """
        ctx.constraints, ctx.cells = constraints, cells
        ctx.save_for_backward(*inputs, *parameters[0::2])
        return torch.from_numpy(vertices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float64[Tensor, "v 3"]) -> Any:
        """To weights and biases, from the last layer to the first."""
        constraints, (zeros, signs, inverses) = ctx.constraints, ctx.cells
        found: list[Tensor] = []
        half = len(ctx.saved_tensors) // 2
        inputs, weights = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        of_zeros = _slopes_of_zeros(_array(gradient), inverses)
        slopes = inputs[0].new_zeros(1, len(gradient))
        for layer in range(half - 1, -1, -1):
            _put(slopes.numpy(), zeros, constraints.first_neuron(layer), of_zeros)
            found = [(slopes @ inputs[layer].T).double(), slopes.sum(dim=1).double(), *found]
            if layer > 0:
                slopes = weights[layer].T.to(slopes.dtype) @ slopes
                _mask(slopes.numpy(), signs, constraints.words(layer - 1).start)
        return (None,) * 4 + tuple(found)


class _Gradients(torch.autograd.Function):
    """Differentiable once."""

    @staticmethod
    def forward(
        ctx: Any,
        constraints: Constraints,
        signs: np.ndarray,
        sums_in: torch.dtype,
        *weights: Tensor,
    ) -> Float64[Tensor, "n 3"]:
        """The slopes of the output by the neurons of one layer after the other, from the last."""
        slopes, of_layers = weights[-1].T.repeat(1, len(signs)), []
        for layer in range(len(weights) - 2, -1, -1):
            _mask(slopes.numpy(), signs, constraints.words(layer).start)
            if any(ctx.needs_input_grad):
                of_layers.append(slopes.to(sums_in))
            slopes = weights[layer].T @ slopes
        ctx.constraints, ctx.signs, ctx.sums_in = constraints, signs, sums_in
        ctx.save_for_backward(*reversed(of_layers), *weights[:-1])
        return slopes.T.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float64[Tensor, "n 3"]) -> Any:
        """To the weights, from the first layer to the last: how a step along the gradient moves the
        neurons of a layer, times the output's slope by them."""
        half, found = len(ctx.saved_tensors) // 2, []
        of_layers, weights = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        moved = gradient.T.to(ctx.sums_in).contiguous()
        for layer, (slopes, weight) in enumerate(zip(of_layers, weights, strict=True)):
            found.append((slopes @ moved.T).double())
            moved = weight.to(moved.dtype) @ moved
            _mask(moved.numpy(), ctx.signs, ctx.constraints.words(layer).start)
        return None, None, None, *found, moved.sum(dim=1).double()[None]


def _array(part: Tensor) -> np.ndarray:
    return part.detach().contiguous().numpy()


@kernel
@no_type_check
def _pick(values, zeros, first, residual):
    """Takes over the values of a layer's neurons that are among the zeros."""
    for vertex in range(len(zeros)):
        for i in range(3):
            neuron = zeros[vertex, i] - first
            if 0 <= neuron < len(values):
                residual[vertex, i] = values[neuron, vertex]


@kernel
@no_type_check
def _put(slopes, zeros, first, of_zeros):
    """Adds the slopes of a layer's neurons that are among the zeros."""
    for vertex in range(len(zeros)):
        for i in range(3):
            neuron = zeros[vertex, i] - first
            if 0 <= neuron < len(slopes):
                slopes[neuron, vertex] += of_zeros[vertex, i]


@kernel
@no_type_check
def _mask(values, signs, word):
    """Puts 0 in the place of what neurons have that are not +."""
    for first in range(0, len(values), 32):
        bits = signs[:, word + (first >> 5)].copy()
        for neuron in range(first, min(first + 32, len(values))):
            row, bit = values[neuron], np.uint32(1) << np.uint32(neuron & 31)
            for vertex in range(len(bits)):
                row[vertex] = row[vertex] if bits[vertex] & bit else 0.0


@kernel
@no_type_check
def _stepped(vertices, zeros, num_neurons, corners, rows, residual, longest):
    """The vertices after their step, and the inverses of the rows."""
    count, step = len(vertices), np.empty(3)
    inverses, result = np.empty((count, 3, 3)), np.empty((count, 3))
    for vertex in range(count):
        for i in range(3):
            plane = zeros[vertex, i] - num_neurons
            if plane >= 0:
                residual[vertex, i] = vertices[vertex, plane >> 1] - corners[plane & 1, plane >> 1]
        inverse, square = inverses[vertex], 0.0
        _invert(rows[vertex], inverse)
        for axis in range(3):
            step[axis] = 0.0
            for i in range(3):
                step[axis] += inverse[axis, i] * residual[vertex, i]
            square += step[axis] * step[axis]
        # Rounding moves a vertex by little; a long step is a sliver's, and would tear the mesh.
        for axis in range(3):
            result[vertex, axis] = vertices[vertex, axis] - (
                0.0 if square > longest * longest else step[axis]
            )
    return result, inverses


@kernel
@no_type_check
def _inverses(rows):
    """The inverses of rows."""
    inverses = np.empty(rows.shape)
    for vertex in range(len(rows)):
        _invert(rows[vertex], inverses[vertex])
    return inverses


@small_kernel
@no_type_check
def _invert(rows, inverse):
    """Fills in the inverse; zeros if it is singular to working precision, the rows being scaled to
    length 1."""
    largest, determinant = 0.0, 0.0
    for i in range(3):
        one, two = rows[(i + 1) % 3], rows[(i + 2) % 3]
        inverse[0, i] = one[1] * two[2] - one[2] * two[1]
        inverse[1, i] = one[2] * two[0] - one[0] * two[2]
        inverse[2, i] = one[0] * two[1] - one[1] * two[0]
    for axis in range(3):
        determinant += rows[0, axis] * inverse[axis, 0]
    for i in range(3):
        length = np.sqrt(rows[i, 0] ** 2 + rows[i, 1] ** 2 + rows[i, 2] ** 2)
        for axis in range(3):
            inverse[axis, i] /= determinant
            size = abs(inverse[axis, i]) * length
            largest = largest if size <= largest else size  # NaN stays
    if not largest < EPS**-0.75:
        inverse[:] = 0.0


@kernel
@no_type_check
def _slopes_of_zeros(gradient, inverses):
    """What a gradient to vertices becomes for the values of their zeros."""
    slopes = np.zeros((len(gradient), 3))
    for vertex in range(len(gradient)):
        for i in range(3):
            for axis in range(3):
                slopes[vertex, i] -= gradient[vertex, axis] * inverses[vertex, axis, i]
    return slopes
