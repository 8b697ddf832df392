"""The two public calls: the exact surface, and the whole complex."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from shapeopt.complex.cells import Cells, collect_cells, count_cells
from shapeopt.complex.differentiate import carries_gradient, differentiable_vertices
from shapeopt.complex.signs import sign_vectors
from shapeopt.complex.subdivision import Box, Skeleton, subdivide
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.zero_set import zero_set
from shapeopt.errors import InputError
from shapeopt.networks import AffineLayer, affine_layers

Bounds = tuple[float, float] | tuple[Sequence[float], Sequence[float]]
"""Lower and upper corner of the box: a number for every axis, or one number per axis."""


@dataclass(frozen=True)
class PolyhedralComplex:
    """All cells of a ReLU network in a box: the pieces on which every neuron keeps its sign.

    Attributes:
        vertices: positions, with gradient unless extracted under ``torch.no_grad()``.
        skeleton: vertices and edges with their sign-vectors, packed.
    """

    vertices: Float[Tensor, "v d"]
    skeleton: Skeleton

    @property
    def edges(self) -> Int64[Tensor, "e 2"]:
        """The two end vertices of each edge."""
        return self.skeleton.edges.long()

    @property
    def num_cells(self) -> tuple[int, ...]:
        """Number of cells of dimension 0 (vertices), 1 (edges), ... d (regions)."""
        d = self.skeleton.constraints.dimension
        return tuple(count_cells(self.skeleton, k) for k in range(d + 1))

    def cells(self, dimension: int) -> Cells:
        """The cells of the given dimension, at least 1, with the edges around each."""
        return collect_cells(self.skeleton, dimension)

    def vertex_sign_vectors(self) -> Int[Tensor, "v constraints"]:
        """Sign-vectors of the vertices, int8 of -1, 0, +1: neurons first, then the box planes."""
        skeleton = self.skeleton
        return sign_vectors(skeleton.vertex_signs, skeleton.vertex_zeros, skeleton.constraints)


def extract_complex(
    network: nn.Module, bounds: Bounds = (-0.5, 0.5), *, dtype: torch.dtype | None = None
) -> PolyhedralComplex:
    """The whole polyhedral complex of a ReLU network in a box, by edge subdivision.

    Args:
        network: ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU``, any input and output size.
        bounds: lower and upper corner of the box.
        dtype: to compute with, ``torch.float32`` or ``torch.float64``; the network's if None.

    Runs on the network's device. Raises :class:`shapeopt.errors.InputError` for a network that is
    not piecewise affine or has NaN weights, and for an empty box.
    """
    layers, box = _prepare(network, bounds, dtype)
    skeleton = subdivide(_constant(layers), box)
    vertices = skeleton.vertices
    if carries_gradient(layers):
        vertices = differentiable_vertices(
            layers,
            box,
            skeleton.constraints,
            vertices,
            skeleton.vertex_zeros,
            skeleton.vertex_signs,
        )
    return PolyhedralComplex(vertices, skeleton)


def extract_surface(
    network: nn.Module,
    bounds: Bounds = (-0.5, 0.5),
    *,
    cap: bool = False,
    dtype: torch.dtype | None = None,
) -> PolyhedralSurface:
    """The exact zero set of a ReLU network R^3 -> R (or R^2 -> R) in a box.

    Args:
        network: ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU`` with one output, f < 0 inside.
        bounds: lower and upper corner of the box.
        cap: in 3D, add the parts of the box's own faces where f < 0, so that a shape that leaves
            the box still bounds a solid.
        dtype: to compute with, ``torch.float32`` or ``torch.float64``; the network's if None.

    Returns:
        The surface, on the network's device. Its vertices and normals are differentiable
        functions of the network's parameters, unless gradients are off.

    Raises:
        InputError: for a network that is not piecewise affine, has NaN weights, more than one
            output, or an input dimension other than 2 and 3, and for an empty box.
        EmptySurfaceError: (an InputError) if f has no zero in the box; it gives f's range there.
    """
    layers, box = _prepare(network, bounds, dtype)
    if box.dimension not in (2, 3):
        raise InputError(
            f"the network has {box.dimension} inputs; a surface exists for 3 (polygons) and 2 "
            "(a polyline). extract_complex works in any dimension"
        )
    if len(layers[-1].bias) != 1:
        raise InputError(f"the network has {len(layers[-1].bias)} outputs; a surface needs one")
    if cap and box.dimension != 3:
        raise InputError("cap=True needs a network with 3 inputs")
    skeleton = subdivide(_constant(layers), box)
    return zero_set(layers, box, skeleton, cap)


def _prepare(
    network: nn.Module, bounds: Bounds, dtype: torch.dtype | None
) -> tuple[list[AffineLayer], Box]:
    layers = affine_layers(network)
    weight = layers[0].weight
    dtype = dtype or weight.dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"extraction works in float32 or float64, not {dtype}; pass dtype=")
    layers = [AffineLayer(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in layers]
    dimension = weight.shape[1]
    corners = []
    for corner in bounds:
        values = torch.as_tensor(corner, dtype=dtype, device=weight.device)
        if values.ndim > 1 or (values.ndim == 1 and len(values) != dimension):
            raise InputError(f"bounds {bounds} do not fit a network with {dimension} inputs")
        corners.append(values.expand(dimension).clone())
    box = Box(*corners)
    if not bool((box.lower < box.upper).all()) or not bool(
        torch.isfinite(torch.cat(corners)).all()
    ):
        raise InputError(
            f"bounds {bounds} are no box: each lower bound must be below its upper one"
        )
    return layers, box


def _constant(layers: Sequence[AffineLayer]) -> list[AffineLayer]:
    return [AffineLayer(layer.weight.detach(), layer.bias.detach()) for layer in layers]
