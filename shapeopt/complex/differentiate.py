"""Vertices and normals as differentiable functions of the weights.

At fixed combinatorics a vertex x solves d affine equations F(x; w) = 0: its active neurons and box
planes. With the extracted vertex x0 and M = dF/dx at x0, both held constant,

    x = x0 - M^-1 F(x0; w)

has the right value (a Newton step, which also removes rounding) and, by the implicit function
theorem, the exact gradient dx/dw = -M^-1 dF/dw, for one forward pass over the vertices.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.signs import Constraints, unpack
from shapeopt.networks.affine import AffineLayer

CHUNK = 2**12
"""Regions whose gradients are computed at a time on a CPU: they stay in its cache."""


def differentiable_vertices(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    zeros: Int[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
    rows: Float[Tensor, "v d d"] | None = None,
) -> Float[Tensor, "v d"]:
    """The vertices with their gradient to the layers' weights and biases.

    Args:
        layers: affine layers whose tensors carry the graph.
        vertices: extracted positions, treated as constants.
        zeros: the d constraints that are 0 at each vertex.
        plus_bits: packed + signs of each vertex.
        rows: gradients of the active constraints with respect to the position, if known.

    A vertex whose equations are singular to working precision (crossing folds that are parallel
    up to rounding) keeps its extracted position and gets no gradient: its position is not a
    differentiable function of the weights.
    """
    residual = _residuals(layers, box, constraints, vertices, zeros, plus_bits)
    if rows is None:
        rows = active_gradients(layers, constraints, zeros, plus_bits)
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
    return torch.is_grad_enabled() and any(
        part.requires_grad for weight, bias, _ in layers for part in (weight, bias)
    )


def affine_gradients(
    layers: Sequence[AffineLayer], constraints: Constraints, plus_bits: Int32[Tensor, "n words"]
) -> Float[Tensor, "n d"]:
    """Gradient of the output in the regions with the given packed + signs, with graph."""
    if len(plus_bits) > CHUNK and plus_bits.device.type == "cpu" and not carries_gradient(layers):
        parts = [affine_gradients(layers, constraints, part) for part in plus_bits.split(CHUNK)]
        return torch.cat(parts)
    dtype = layers[0].weight.dtype
    active = (
        _active(plus_bits, constraints, layer, dtype) for layer in reversed(range(len(layers) - 1))
    )
    return gradient_where(layers, active).expand(len(plus_bits), -1)


def gradient_where(
    layers: Sequence[AffineLayer], active: Iterable[Float[Tensor, "n _"]]
) -> Float[Tensor, "n d"]:
    """Gradient of the output where the given neurons are active; one row without hidden layers.

    Args:
        layers: of one output.
        active: 1 for each active neuron and 0 for the others, of the last hidden layer first.
    """
    *hidden, last = layers
    gradient = last.weight
    for layer, mask in zip(reversed(hidden), active, strict=True):
        gradient = (gradient * mask) @ layer.weight
    return gradient


def _active(
    plus_bits: Int32[Tensor, "n words"], constraints: Constraints, layer: int, dtype: torch.dtype
) -> Float[Tensor, "n width"]:
    """1 for each + neuron of the layer, and 0 for the others."""
    return unpack(plus_bits[:, constraints.words(layer)], constraints.widths[layer], dtype)


def _residuals(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    zeros: Int[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
) -> Float[Tensor, "v d"]:
    """Values of the active constraints at the vertices, with graph.

    A neuron that is 0 may take either branch: the equation n = 0 makes both the same.
    """
    zeros = zeros.long()
    residual = _box_distances(box, constraints, vertices, zeros)
    values = vertices
    for index, layer in enumerate(layers):
        values = torch.addmm(layer.bias, values, layer.weight.T)
        here, column = _columns(constraints, index, zeros)
        residual = residual + torch.where(here, values.gather(1, column), 0)
        if index + 1 < len(layers):
            values = values * _active(plus_bits, constraints, index, vertices.dtype)
    return residual


@torch.no_grad()
def active_gradients(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    zeros: Int[Tensor, "v k"],
    plus_bits: Int32[Tensor, "v words"],
) -> Float[Tensor, "v k d"]:
    """Gradients of constraints that are 0 in some regions, one per row; planes along their axis."""
    zeros = zeros.long()
    d = constraints.dimension
    axes = torch.eye(d, dtype=layers[0].weight.dtype, device=zeros.device)
    plane = (zeros - constraints.num_neurons).clamp(min=0)
    on_plane = zeros >= constraints.num_neurons
    rows = torch.where(on_plane[:, :, None], axes[plane // 2], 0)
    jacobian = axes.expand(len(zeros), -1, -1)  # [v, d, width]: d values / d x
    for index, layer in enumerate(layers):
        jacobian = jacobian @ layer.weight.T
        here, column = _columns(constraints, index, zeros)
        picked = jacobian.gather(2, column[:, None, :].expand(-1, d, -1))
        rows = rows + torch.where(here[:, :, None], picked.transpose(1, 2), 0)
        if index + 1 < len(layers):
            active = _active(plus_bits, constraints, index, jacobian.dtype)
            jacobian = jacobian * active[:, None, :]
    return rows


def _columns(
    constraints: Constraints, layer: int, zeros: Int64[Tensor, "v d"]
) -> tuple[Bool[Tensor, "v d"], Int64[Tensor, "v d"]]:
    """Which of the zeros are neurons of the layer, and which of its neurons they are."""
    column = zeros - constraints.first_neuron(layer)
    width = constraints.widths[layer]
    return (column >= 0) & (column < width), column.clamp(0, width - 1)


def _box_distances(
    box: Box, constraints: Constraints, vertices: Float[Tensor, "v d"], zeros: Int64[Tensor, "v d"]
) -> Float[Tensor, "v d"]:
    """Distance to each active box plane along its axis, and 0 for the neurons."""
    plane = zeros - constraints.num_neurons
    axis = plane.clamp(min=0) // 2
    position = torch.where(plane % 2 == 0, box.lower[axis], box.upper[axis])
    return torch.where(plane >= 0, vertices.gather(1, axis) - position, 0)


def _invert(
    rows: Float[Tensor, "v d d"],
) -> tuple[Float[Tensor, "v d d"], Bool[Tensor, "v"]]:
    """Inverses of matrices of unit rows, and which of them are regular to working precision."""
    inverse = inverse_of(rows)
    size = inverse.abs().amax(dim=(1, 2))
    is_regular = size < torch.finfo(rows.dtype).eps ** -0.75
    return torch.where(is_regular[:, None, None], inverse, 0), is_regular


def inverse_of(rows: Float[Tensor, "v d d"]) -> Float[Tensor, "v d d"]:
    """Inverses, with infinite or NaN entries for singular matrices; small ones by the adjugate."""
    if rows.shape[1] == 2:
        (a, b), (c, d) = rows[:, 0].unbind(1), rows[:, 1].unbind(1)
        adjugate = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2)
        return adjugate / (a * d - b * c)[:, None, None]
    if rows.shape[1] == 3:
        one, two, three = rows.unbind(1)
        cross = torch.stack(
            [
                torch.linalg.cross(two, three, dim=1),
                torch.linalg.cross(three, one, dim=1),
                torch.linalg.cross(one, two, dim=1),
            ],
            dim=2,
        )
        return cross / (one * cross[:, :, 0]).sum(dim=1)[:, None, None]
    return torch.linalg.inv_ex(rows)[0]
