"""The two public calls: the exact surface, and the whole complex."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Int8, Int64
from torch import Tensor, nn

from shapeopt.complex.cells import (
    Cells,
    cell_vertices,
    collect_cells,
    count_cells,
    incidence,
    region_maps,
)
from shapeopt.complex.differentiate import carries_gradient, differentiable_vertices
from shapeopt.complex.seeds import RESOLUTION
from shapeopt.complex.signs import sign_vectors
from shapeopt.complex.subdivision import Box, Progress, Skeleton, subdivide
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.tracing import trace
from shapeopt.complex.zero_set import zero_set
from shapeopt.errors import InputError
from shapeopt.networks import AffineLayer, affine_layers

Bounds = Sequence[float | Sequence[float]]
"""Lower and upper corner of the box: a number for every axis, or one number per axis."""


@dataclass(frozen=True)
class PolyhedralComplex:
    """All cells of a ReLU network in a box: the pieces on which every neuron keeps its sign.

    Attributes:
        vertices: positions, with gradient unless extracted under ``torch.no_grad()``.
        skeleton: vertices and edges with their sign-vectors, packed.
        layers: the affine layers of the network.
    """

    vertices: Float[Tensor, "v d"]
    skeleton: Skeleton
    layers: list[AffineLayer]

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

    def sign_vectors(self, cells: Cells) -> Int8[Tensor, "n all_constraints"]:
        """Sign-vectors of cells, int8 of -1, 0, +1: neurons first, then the box planes."""
        return sign_vectors(cells.signs, cells.zeros, self.skeleton.constraints)

    def cell_vertices(self, cells: Cells) -> tuple[Int64[Tensor, "n_plus_1"], Int64[Tensor, "m"]]:
        """Offsets and indices of the vertices of each cell, as ``Cells.edges`` has its edges."""
        return cell_vertices(cells, self.skeleton)

    def incidence(self, dimension: int) -> Int64[Tensor, "m 2"]:
        """All pairs (i, j) where k-cell i lies in (k + 1)-cell j, for k the given dimension.

        The numbers are places in ``vertices``, ``edges`` or ``cells(k)``; sorted by j.
        """
        return incidence(self.skeleton, dimension)

    def region_maps(
        self, regions: Cells | None = None
    ) -> tuple[Float[Tensor, "r out d"], Float[Tensor, "r out"]]:
        """The affine map ``weights @ x + bias`` that the network is in each region.

        ``regions`` are ``cells(d)`` if None. They carry the gradient to the network's parameters.
        """
        regions = self.cells(self.skeleton.constraints.dimension) if regions is None else regions
        return region_maps(self.layers, self.skeleton.constraints, regions.signs)

    def vertex_sign_vectors(self) -> Int[Tensor, "v constraints"]:
        """Sign-vectors of the vertices, int8 of -1, 0, +1: neurons first, then the box planes."""
        skeleton = self.skeleton
        return sign_vectors(skeleton.vertex_signs, skeleton.vertex_zeros, skeleton.constraints)


def extract_complex(
    network: nn.Module,
    bounds: Bounds = (-0.5, 0.5),
    *,
    dtype: torch.dtype | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> PolyhedralComplex:
    """The whole polyhedral complex of a ReLU network in a box, by edge subdivision.

    Args:
        network: ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU``, any input and output size.
        bounds: lower and upper corner of the box.
        dtype: to compute with, ``torch.float32`` or ``torch.float64``; the network's if None.
        max_bytes: memory to hold at most; most of what the device has free if None.
        progress: called after each neuron with its layer, its place there, and the vertices so far.

    Runs on the network's device. Raises :class:`shapeopt.errors.InputError` for a network that is
    not piecewise affine or has NaN weights, and for an empty box; and
    :class:`shapeopt.errors.ExtractionError` if it needs more memory than allowed.
    """
    layers, box = _prepare(network, bounds, dtype)
    skeleton = subdivide(_constant(layers), box, max_bytes=max_bytes, progress=progress)
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
    return PolyhedralComplex(vertices, skeleton, layers)


def extract_surface(
    network: nn.Module,
    bounds: Bounds = (-0.5, 0.5),
    *,
    method: Literal["subdivide", "trace"] = "subdivide",
    seeds: Float[Tensor, "n d"] | int = RESOLUTION,
    cap: bool = False,
    dtype: torch.dtype | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
) -> PolyhedralSurface:
    """The exact zero set of a ReLU network R^3 -> R (or R^2 -> R) in a box.

    Args:
        network: ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU`` with one output, f < 0 inside.
        bounds: lower and upper corner of the box.
        method: ``"subdivide"`` builds the complex, leaving out what is proven free of zeros, and
            misses nothing. ``"trace"`` follows the surface alone, which on large networks is many
            times faster, from seeds: it finds the components that have one.
        seeds: for ``"trace"``: points on or near the surface; or the resolution of a grid of sign
            tests over the box that finds them, in cells along a side. Parts and gaps thinner than
            half a cell can then be missed.
        cap: with ``"subdivide"``, in 3D, add the parts of the box's own faces where f < 0, so
            that a shape that leaves the box still bounds a solid.
        dtype: to compute with, ``torch.float32`` or ``torch.float64``; the network's if None.
        max_bytes: for ``"subdivide"``: memory to hold at most; most of what is free if None.
        progress: for ``"subdivide"``: called after each neuron with its layer, its place there,
            and the vertices so far.

    Returns:
        The surface, on the network's device. Its vertices and normals are differentiable
        functions of the network's parameters, unless gradients are off.

    Raises:
        InputError: for a network that is not piecewise affine, has NaN weights, more than one
            output, or an input dimension other than 2 and 3, and for an empty box.
        EmptySurfaceError: (an InputError) if f has no zero in the box; it gives f's range there.
        ExtractionError: with ``"trace"``, if folds coincide in a way that it cannot follow; with
            ``"subdivide"``, if it needs more memory than allowed.
    """
    layers, box = prepare_surface(network, bounds, dtype)
    if cap and box.dimension != 3:
        raise InputError("cap=True needs a network with 3 inputs")
    if method == "trace":
        if cap:
            raise InputError("cap=True needs method='subdivide': the box's faces are not traced")
        return trace(layers, box, seeds)
    if method != "subdivide":
        raise InputError(f"method is {method!r}; it can be 'subdivide' or 'trace'")
    skeleton = subdivide(
        _constant(layers), box, surface_only=not cap, max_bytes=max_bytes, progress=progress
    )
    return zero_set(layers, box, skeleton, cap)


def prepare_surface(
    network: nn.Module, bounds: Bounds, dtype: torch.dtype | None
) -> tuple[list[AffineLayer], Box]:
    """Affine layers and domain of a network whose surface is wanted, with their checks."""
    layers, box = _prepare(network, bounds, dtype)
    if box.dimension not in (2, 3):
        raise InputError(
            f"the network has {box.dimension} inputs; a surface exists for 3 (polygons) and 2 "
            "(a polyline). extract_complex works in any dimension"
        )
    if len(layers[-1].bias) != 1:
        raise InputError(f"the network has {len(layers[-1].bias)} outputs; a surface needs one")
    return layers, box


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
