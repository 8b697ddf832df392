"""Vertices and normals as differentiable functions of the weights.

At fixed combinatorics a vertex x solves d affine equations F(x; w) = 0: its active neurons and box
planes. With the extracted vertex x0 and M = dF/dx at x0, both held constant,

    x = x0 - M^-1 F(x0; w)

has the right value (a Newton step, which also removes rounding) and, by the implicit function
theorem, the exact gradient dx/dw = -M^-1 dF/dw, for one forward pass over the vertices.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.at_vertices import AtVertices
from shapeopt.complex.box import Box
from shapeopt.complex.signs import Constraints, active_neurons
from shapeopt.complex.simplices import Simplices, box_planes, simplices_in
from shapeopt.networks.affine import AffineLayer
from shapeopt.networks.encoding import Encoding

CHUNK = 2**12
"""Regions, or vertices, whose gradients are computed at a time on a CPU: they stay in its cache."""


def differentiable_vertices(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    zeros: Int[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
    known: AtVertices | None = None,
    *,
    compiled: bool = False,
    sums_in: torch.dtype = torch.float64,
) -> Float[Tensor, "v d"]:
    """The vertices with their gradient to the layers' weights and biases.

    Args:
        layers: affine layers whose tensors carry the graph.
        vertices: extracted positions, treated as constants.
        zeros: the d constraints that are 0 at each vertex.
        plus_bits: packed + signs of each vertex.
        known: what is known of the network there. Vertices of which the outputs are known count as
            solved, and take no step.
        compiled: by ``differentiate_compiled.py`` if it can, on a CPU and in float64.
        sums_in: dtype of the sums over vertices in the backward pass, if compiled: float32 is
            precise enough for weights in float32, and takes half of the time.

    A vertex whose equations are singular to working precision (crossing folds that are parallel
    up to rounding) keeps its extracted position and gets no gradient: its position is not a
    differentiable function of the weights. On planes of the box vertices are exactly.
    """
    # Rounding moves a vertex by little; a long step is a sliver's, and would tear the mesh.
    longest = 1e-3 * float((box.upper - box.lower).max())
    cells = constraints, vertices, zeros, plus_bits
    rows = None if known is None else known.rows
    if rows is None:
        rows = active_gradients(layers, constraints, zeros, plus_bits)
    if compiled and _has_compiled(layers):
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.complex.differentiate_compiled import newton_step, solved_vertices

        if known is not None and known.outputs.shape[1] == constraints.output:
            moved = solved_vertices(layers, *cells, known)
        else:
            moved = newton_step(layers, box, *cells, rows, longest=longest, sums_in=sums_in)
    else:
        moved = _newton_step(layers, box, *cells, rows, longest)
    encoding = layers[0].encoding
    simplices = None if encoding is None else Simplices(encoding)
    return box.put_on_planes(moved, box_planes(constraints, zeros, plus_bits, simplices))


def _newton_step(
    layers: Sequence[AffineLayer],
    box: Box,
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    zeros: Int[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
    rows: Float[Tensor, "v d d"],
    longest: float,
) -> Float[Tensor, "v d"]:
    """The oracle of the one in ``differentiate_compiled.py``, on any device."""
    encoding = layers[0].encoding
    where = _where(constraints, zeros.long(), vertices.dtype)
    active = active_neurons(plus_bits, constraints, vertices.dtype)
    if encoding is None:
        inputs, at_planes = vertices, _at_box_planes(box, where, vertices)
    else:
        inputs = encoding.values_in(simplices_in(plus_bits), vertices)
        at_planes = _at_sides(encoding, where, simplices_in(plus_bits), vertices)
    residual = _residuals(layers, where, active, inputs, at_planes)
    lengths = rows.norm(dim=2, keepdim=True)
    inverse, is_regular = _invert(rows / lengths)
    step = (inverse @ (residual / lengths.squeeze(2))[:, :, None]).squeeze(2)
    step = torch.where(is_regular[:, None], step, torch.zeros_like(step))
    too_long = step.detach().norm(dim=1, keepdim=True) > longest
    return vertices - step + torch.where(too_long, step.detach(), 0)


def carries_gradient(layers: Sequence[AffineLayer]) -> bool:
    """Whether results of these layers will be differentiated."""
    encoding = layers[0].encoding
    return torch.is_grad_enabled() and (
        any(part.requires_grad for layer in layers for part in (layer.weight, layer.bias))
        or (encoding is not None and encoding.requires_grad)
    )


def _has_compiled(layers: Sequence[AffineLayer]) -> bool:
    """Whether ``differentiate_compiled.py`` knows such a network."""
    return layers[0].dimension == 3 and layers[0].encoding is None


def affine_gradients(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    plus_bits: Int32[Tensor, "n words"],
    *,
    compiled: bool = False,
    sums_in: torch.dtype = torch.float64,
) -> Float[Tensor, "n d"]:
    """Gradient of the output in the regions with the given packed + signs, with graph.

    Args:
        compiled, sums_in: as for :func:`differentiable_vertices`.
    """
    if len(plus_bits) > CHUNK and plus_bits.device.type == "cpu" and not carries_gradient(layers):
        parts = plus_bits.split(CHUNK)
        return torch.cat(
            [affine_gradients(layers, constraints, part, compiled=compiled) for part in parts]
        )
    if compiled and _has_compiled(layers):
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.complex.differentiate_compiled import gradients

        return gradients(layers, constraints, plus_bits, sums_in)
    active = active_neurons(plus_bits, constraints, layers[0].weight.dtype)
    gradient = gradient_where(layers, reversed(active)).expand(len(plus_bits), -1)
    encoding = layers[0].encoding
    if encoding is None:
        return gradient
    return (encoding.slopes_in(simplices_in(plus_bits)) @ gradient[:, :, None]).squeeze(2)


def gradient_where(
    layers: Sequence[AffineLayer], active: Iterable[Float[Tensor, "n _"]]
) -> Float[Tensor, "n d"]:
    """Gradient of the output by the first layer's inputs where the given neurons are active; one
    row without hidden layers.

    Args:
        layers: of one output.
        active: 1 for each active neuron and 0 for the others, of the last hidden layer first.
    """
    *hidden, last = layers
    gradient = last.weight
    for layer, mask in zip(reversed(hidden), active, strict=True):
        gradient = (gradient * mask) @ layer.weight
    return gradient


@torch.no_grad()
def outputs_at(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    vertices: Float[Tensor, "v d"],
    plus_bits: Int32[Tensor, "v words"],
) -> Float[Tensor, "v hidden"]:
    """What the hidden neurons pass on at vertices with the given packed + signs."""
    values, found = vertices, []
    active = active_neurons(plus_bits, constraints, vertices.dtype)
    for layer, mask in zip(layers, active, strict=False):
        values = layer.values(values) * mask
        found.append(values)
    return torch.cat(found, dim=1) if found else vertices.new_empty(len(vertices), 0)


class _Where(NamedTuple):
    """Where to find the values of constraints that are 0 at vertices.

    Attributes:
        here: for each layer 1 if the constraint is one of its neurons, and else 0.
        column: which of the neurons it is, if so.
        on_plane: whether it is a plane of the box, or a side of the simplex.
        plane: which one, if so.
    """

    here: Float[Tensor, "layers v k"]
    column: Int64[Tensor, "layers v k"]
    on_plane: Bool[Tensor, "v k"]
    plane: Int64[Tensor, "v k"]

    @property
    def is_upper(self) -> Bool[Tensor, "v k"]:
        """Whether a plane of the box is an upper one."""
        return (self.plane & 1).bool()

    @property
    def axis(self) -> Int64[Tensor, "v k"]:
        """The axis that a plane of the box is at right angles to."""
        return torch.div(self.plane, 2, rounding_mode="floor")


def _where(constraints: Constraints, zeros: Int64[Tensor, "v k"], dtype: torch.dtype) -> _Where:
    first, last = _ends_of_layers(constraints, zeros.device)
    column = zeros - first
    here = (column >= 0) & (zeros <= last)
    plane = zeros - constraints.num_neurons
    return _Where(
        here.to(dtype),
        torch.minimum(column.clamp_(min=0), last - first),
        plane >= 0,
        plane.clamp(min=0),
    )


@lru_cache(maxsize=8)
def _ends_of_layers(
    constraints: Constraints, device: torch.device
) -> tuple[Int64[Tensor, "layers 1 1"], Int64[Tensor, "layers 1 1"]]:
    """The first and the last neuron of each layer; made once per architecture."""
    widths = torch.tensor(constraints.widths, device=device)[:, None, None]
    stop = widths.cumsum(0)
    return stop - widths, stop - 1


def _at_box_planes(box: Box, where: _Where, vertices: Float[Tensor, "v d"]) -> Float[Tensor, "v k"]:
    """How far beyond its plane of the box each vertex lies; 0 for a constraint that is none."""
    bound = torch.where(where.is_upper, box.upper[where.axis], box.lower[where.axis])
    return (vertices.gather(1, where.axis) - bound) * where.on_plane


def _at_sides(
    encoding: Encoding,
    where: _Where,
    simplices: Int64[Tensor, "v"],
    vertices: Float[Tensor, "v 3"],
) -> Float[Tensor, "v k"]:
    """How far inside of its side of the simplex each vertex lies; 0 for a constraint that is
    none."""
    return (
        encoding.heights_in(simplices, vertices).gather(1, where.plane.clamp(max=3))
        * where.on_plane
    )


def _residuals(
    layers: Sequence[AffineLayer],
    where: _Where,
    active: Sequence[Float[Tensor, "v _"]],
    inputs: Float[Tensor, "v in"],
    at_planes: Float[Tensor, "v d"],
) -> Float[Tensor, "v d"]:
    """Values of the active constraints at the vertices, with graph.

    A neuron that is 0 may take either branch: the equation n = 0 makes both the same.
    """
    residual, values = at_planes, inputs
    for index, layer in enumerate(layers):
        values = torch.addmm(layer.bias, values, layer.weight.T)
        picked = values.gather(1, where.column[index])
        residual = torch.addcmul(residual, where.here[index], picked)
        if index < len(active):
            values = values * active[index]
    return residual


def active_gradients(
    layers: Sequence[AffineLayer],
    constraints: Constraints,
    zeros: Int[Tensor, "v k"],
    plus_bits: Int32[Tensor, "v words"],
) -> Float[Tensor, "v k d"]:
    """Gradients of constraints that are 0 in some regions, one per row; planes along their axis."""
    if len(zeros) > CHUNK and zeros.device.type == "cpu":
        parts = zip(zeros.split(CHUNK), plus_bits.split(CHUNK), strict=True)
        return torch.cat([active_gradients(layers, constraints, *part) for part in parts])
    dtype = layers[0].weight.dtype
    where = _where(constraints, zeros.long(), dtype)
    return _gradients(layers, where, active_neurons(plus_bits, constraints, dtype), plus_bits)


@torch.no_grad()
def _gradients(
    layers: Sequence[AffineLayer],
    where: _Where,
    active: Sequence[Float[Tensor, "v _"]],
    plus_bits: Int32[Tensor, "v words"],
) -> Float[Tensor, "v k d"]:
    weight, encoding = layers[0].weight, layers[0].encoding
    count, d = len(where.plane), layers[0].dimension
    # [v, d, width]: d values / d x
    if encoding is None:
        axes = torch.eye(d, dtype=weight.dtype, device=weight.device)
        rows = axes[where.axis] * where.on_plane[:, :, None]
        jacobian = axes.expand(count, -1, -1)
    else:
        simplices = simplices_in(plus_bits)
        sides = encoding.height_slopes_in(simplices).mT
        plane = where.plane.clamp(max=3)[:, :, None].expand(-1, -1, d)
        rows = sides.gather(1, plane) * where.on_plane[:, :, None]
        jacobian = encoding.slopes_in(simplices)
    for index, layer in enumerate(layers):
        jacobian = jacobian @ layer.weight.T
        picked = jacobian.gather(2, where.column[index, :, None].expand(-1, d, -1))
        rows.addcmul_(where.here[index, :, :, None], picked.transpose(1, 2))
        if index < len(active):
            jacobian = jacobian * active[index][:, None, :]
    return rows


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
