"""The two public calls: the exact surface, and the whole complex."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.complex.box import Bounds, Box
from shapeopt.complex.differentiate import carries_gradient, differentiable_vertices
from shapeopt.complex.polyhedral_complex import PolyhedralComplex
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.extraction.progress import Progress
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tracing.seeds import RESOLUTION
from shapeopt.extraction.tracing.trace import trace
from shapeopt.networks.affine import AffineLayer, affine_layers


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
    layers, box = prepare(network, bounds, dtype)
    skeleton = subdivide(constant(layers), box, max_bytes=max_bytes, progress=progress)
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
        constant(layers), box, surface_only=not cap, max_bytes=max_bytes, progress=progress
    )
    return zero_set(layers, box, skeleton, cap)


def prepare_surface(
    network: nn.Module, bounds: Bounds, dtype: torch.dtype | None
) -> tuple[list[AffineLayer], Box]:
    """Affine layers and domain of a network whose surface is wanted, with their checks."""
    layers, box = prepare(network, bounds, dtype)
    if box.dimension not in (2, 3):
        raise InputError(
            f"the network has {box.dimension} inputs; a surface exists for 3 (polygons) and 2 "
            "(a polyline). extract_complex works in any dimension"
        )
    if len(layers[-1].bias) != 1:
        raise InputError(f"the network has {len(layers[-1].bias)} outputs; a surface needs one")
    return layers, box


def prepare(
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


def constant(layers: Sequence[AffineLayer]) -> list[AffineLayer]:
    return [AffineLayer(layer.weight.detach(), layer.bias.detach()) for layer in layers]
