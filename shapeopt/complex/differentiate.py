"""Vertices and normals as differentiable functions of the weights.

At fixed combinatorics a vertex x solves d affine equations F(x; w) = 0: its active neurons and box
planes. With the extracted vertex x0 and M = dF/dx at x0, both held constant,

    x = x0 - M^-1 F(x0; w)

has the right value (a Newton step, which also removes rounding) and, by the implicit function
theorem, the exact gradient dx/dw = -M^-1 dF/dw, for one forward pass over the vertices.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from shapeopt.complex.signs import Constraints, unpack
from shapeopt.complex.subdivision import Box
from shapeopt.networks import AffineLayer


def differentiable_vertices(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    zeros: Int[Tensor, "v d"],
    signs: Int32[Tensor, "v words"],
) -> Float[Tensor, "v d"]:
    """The vertices with their gradient to the layers' weights and biases.

    Args:
        layers: affine layers whose tensors carry the graph.
        vertices: extracted positions, treated as constants.
        zeros: the d constraints that are 0 at each vertex.
        signs: packed + signs of each vertex.

    A vertex whose equations are singular to working precision (crossing folds that are parallel
    up to rounding) keeps its extracted position and gets no gradient: its position is not a
    differentiable function of the weights.
    """
    residual, rows = _active_equations(layers, box, constraints, vertices, zeros, signs)
    lengths = rows.norm(dim=2, keepdim=True)
    inverse, is_regular = _invert(rows / lengths)
    step = (inverse @ (residual / lengths.squeeze(2))[:, :, None]).squeeze(2)
    step = torch.where(is_regular[:, None], step, torch.zeros_like(step))
    # Rounding moves a vertex by little; a long step is a sliver's, and would tear the mesh.
    limit = 1e-3 * (box.upper - box.lower).max()
    too_long = step.detach().norm(dim=1, keepdim=True) > limit
    return vertices - step + torch.where(too_long, step.detach(), 0)


def carries_gradient(layers: Sequence[AffineLayer]) -> bool:
    """Whether results of these layers will be differentiated."""
    return torch.is_grad_enabled() and any(part.requires_grad for layer in layers for part in layer)


def affine_gradients(
    layers: Sequence[AffineLayer], constraints: Constraints, signs: Int32[Tensor, "n words"]
) -> Float[Tensor, "n d"]:
    """Gradient of the output in the regions with the given packed + signs, with graph."""
    *hidden, last = layers
    gradient = last.weight.expand(len(signs), -1)
    for index in reversed(range(len(hidden))):
        active = _active(signs, constraints, index, gradient.dtype)
        gradient = (gradient * active) @ hidden[index].weight
    return gradient


def _active(
    signs: Int32[Tensor, "n words"], constraints: Constraints, layer: int, dtype: torch.dtype
) -> Float[Tensor, "n width"]:
    return unpack(signs[:, constraints.words(layer)], constraints.widths[layer]).to(dtype)


def _active_equations(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    zeros: Int[Tensor, "v d"],
    signs: Int32[Tensor, "v words"],
) -> tuple[Float[Tensor, "v d"], Float[Tensor, "v d d"]]:
    """Values of the active constraints at the vertices (with graph), and their gradients (without).

    A neuron that is 0 may take either branch: the equation n = 0 makes both the same.
    """
    zeros = zeros.long()
    residual = torch.zeros_like(vertices)
    rows = vertices.new_zeros(*zeros.shape, box.dimension)
    values = vertices
    jacobian = torch.eye(box.dimension, dtype=vertices.dtype, device=vertices.device)
    jacobian = jacobian.expand(len(vertices), -1, -1)  # [v, d, width]: d values / d x
    for index, layer in enumerate(layers):
        values = torch.addmm(layer.bias, values, layer.weight.T)
        jacobian = jacobian @ layer.weight.detach().T
        column = zeros - constraints.first_neuron(index)
        here = (column >= 0) & (column < constraints.widths[index])
        column = column.clamp(0, constraints.widths[index] - 1)
        residual = residual + torch.where(here, values.gather(1, column), 0)
        picked = jacobian.gather(2, column[:, None, :].expand(-1, box.dimension, -1))
        rows = rows + torch.where(here[:, :, None], picked.transpose(1, 2), 0)
        if index + 1 < len(layers):
            active = _active(signs, constraints, index, vertices.dtype)
            values = values * active
            jacobian = jacobian * active[:, None, :]
    return _with_box_planes(residual, rows, box, constraints, vertices, zeros)


def _with_box_planes(
    residual: Tensor,
    rows: Tensor,
    box: Box,
    constraints: Constraints,
    vertices: Tensor,
    zeros: Tensor,
) -> tuple[Tensor, Tensor]:
    plane = zeros - constraints.num_neurons
    on_plane = plane >= 0
    axis = plane.clamp(min=0) // 2
    position = torch.where(plane % 2 == 0, box.lower[axis], box.upper[axis])
    distance = vertices.gather(1, axis) - position
    unit = torch.eye(box.dimension, dtype=rows.dtype, device=rows.device)[axis]
    residual = residual + torch.where(on_plane, distance, 0)
    return residual, torch.where(on_plane[:, :, None], unit, rows)


def _invert(
    rows: Float[Tensor, "v d d"],
) -> tuple[Float[Tensor, "v d d"], Tensor]:
    """Inverses of matrices of unit rows, and which of them are regular to working precision."""
    inverse, _ = torch.linalg.inv_ex(rows)
    size = inverse.abs().amax(dim=(1, 2))
    is_regular = size < torch.finfo(rows.dtype).eps ** -0.75
    return torch.where(is_regular[:, None, None], inverse, 0), is_regular
