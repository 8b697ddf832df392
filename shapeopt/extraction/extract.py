"""The two public calls: the exact surface, and the whole complex."""

from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from shapeopt.complex.box import Bounds, Box, dimension_of
from shapeopt.complex.differentiate import carries_gradient, differentiable_vertices
from shapeopt.complex.polyhedral_complex import PolyhedralComplex
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.extraction.condition import Conditioned, condition
from shapeopt.extraction.extractor import Backend, Extractor
from shapeopt.extraction.no_zero import NoZero, empty_surface
from shapeopt.extraction.progress import Inconsistent, Progress
from shapeopt.extraction.subdivision.extractor import Subdivision
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tolerances import consistently
from shapeopt.extraction.tracing.extractor import Tracing
from shapeopt.networks.affine import AffineLayer, without_graph
from shapeopt.networks.encoding import BOX
from shapeopt.networks.reading import check_reading, read_network
from shapeopt.networks.views import Classes, LevelSet

METHODS: dict[str, type[Extractor]] = {"subdivide": Subdivision, "trace": Tracing}


def extract_complex(
    network: nn.Module,
    bounds: Bounds = (-0.5, 0.5),
    *,
    boundaries: bool = False,
    dtype: torch.dtype | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    backend: Backend = "auto",
) -> PolyhedralComplex:
    """The whole polyhedral complex of a network in a box, by edge subdivision: all of its folds.

    Args:
        network: any piecewise-affine module, see :func:`shapeopt.networks.reading.read_network`;
            any input and output size.
        bounds: lower and upper corner of the box.
        boundaries: cut where two outputs tie for the largest, too, and not where outputs are 0:
            the complex of a classifier, with its decision boundaries as ``interfaces()``.
        dtype: to compute with, ``torch.float32`` or ``torch.float64``; the network's if None.
        max_bytes: memory to hold at most; most of what the device has free if None.
        progress: called after each neuron with its layer, its place there, and the vertices so far.
        backend: ``"plain"`` (torch), ``"compiled"`` (CPU alone) or ``"auto"``.

    Runs on the network's device. Raises :class:`shapeopt.InputError` for a network that is not
    piecewise affine or has NaN weights, and for an empty box; and
    :class:`shapeopt.ExtractionError` if it needs more memory than allowed.
    """
    layers, box = prepare(Classes(network) if boundaries else network, bounds, dtype)
    if boundaries:
        layers[-1] = layers[-1].uncut()
    unit = condition(layers, box)
    layers = [layer.map(lambda part: part.to(box.lower.dtype)) for layer in layers]
    subdivided = partial(subdivide, max_bytes=max_bytes, progress=progress, backend=backend)
    try:
        constant, domain = _in_dtype(unit, box.lower.dtype)
        skeleton = subdivided(without_graph(constant), domain)
    except Inconsistent:
        constant, domain = unit.layers, unit.box
        every = without_graph(constant)
        skeleton = consistently(lambda ulps: subdivided(every, domain, ulps=ulps))
    vertices = skeleton.vertices
    if carries_gradient(layers):
        cells = skeleton.constraints, vertices, skeleton.vertex_zeros, skeleton.vertex_plus_bits
        vertices = differentiable_vertices(constant, domain, *cells)
    return PolyhedralComplex(unit.undo_points(vertices), skeleton, layers)


def extract_surface(
    network: nn.Module,
    bounds: Bounds = (-0.5, 0.5),
    *,
    level: float = 0.0,
    output: int | None = None,
    extractor: Extractor | None = None,
    method: Literal["subdivide", "trace"] | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> PolyhedralSurface:
    """The exact zero set of a piecewise-affine network R^3 -> R (or R^2 -> R) in a box.

    Args:
        network: any module that is read by :func:`shapeopt.networks.reading.read_network`, such as
            ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU``; f < 0 inside.
        bounds: lower and upper corner of the box.
        level: the surface is where f has this value.
        output: which output f is, if there are several.
        extractor: the algorithm with its settings: :class:`shapeopt.Subdivision`, which misses
            nothing, or :class:`shapeopt.Tracing`, which is many times faster on large networks,
            and faster still when it is given again for the same network.
        method: short for an extractor: ``"subdivide"`` or ``"trace"``. If neither is given it is
            subdivision, and of an encoded network complete tracing; both miss nothing.
        dtype: of the result, ``torch.float32`` or ``torch.float64``; the network's if None.
            Signs are decided in float64 whatever it is.
        options: settings of the extractor that ``method`` names, such as ``cap=True`` or
            ``seeds=64``.

    Returns:
        The surface, on the network's device. Its vertices and normals are differentiable
        functions of the network's parameters, unless gradients are off.

    Raises:
        InputError: for a network that is not piecewise affine, has NaN weights, more than one
            output, or an input dimension other than 2 and 3; for an empty box; and for an option
            that the extractor does not have.
        EmptySurfaceError: (an InputError) if f has no zero in the box; it gives f's range there.
        ExtractionError: from tracing, if folds coincide in a way that it cannot follow; from
            subdivision, if it needs more memory than allowed.
    """
    is_view = output is not None or level != 0
    view = LevelSet(network, output, level) if is_view else network
    layers, box = prepare(view, bounds, dtype)
    _check_has_surface(layers, box)
    if layers[0].encoding is not None and method is None and extractor is None:
        method, options = "trace", {"complete": "seeds" not in options} | options
    extractor = _extractor(extractor, method, options)
    unit = condition(layers, box)
    try:
        surface = extractor.surface_of(network, unit)
    except NoZero as none:
        raise empty_surface(none, box, float(unit.output_size)) from None
    return unit.undo(surface)


def _check_has_surface(layers: list[AffineLayer], box: Box) -> None:
    if box.dimension not in (2, 3):
        raise InputError(
            f"the network has {box.dimension} inputs; a surface exists for 3 (polygons) and 2 "
            "(a polyline). extract_complex works in any dimension"
        )
    if len(layers[-1].bias) != 1:
        raise InputError(
            f"the network has {len(layers[-1].bias)} outputs; a surface needs one: choose it with "
            "output="
        )


def _in_dtype(unit: Conditioned, dtype: torch.dtype) -> tuple[list[AffineLayer], Box]:
    layers = [layer.map(lambda part: part.to(dtype)) for layer in unit.layers]
    return layers, Box(unit.box.lower.to(dtype), unit.box.upper.to(dtype))


def prepare(
    network: nn.Module, bounds: Bounds, dtype: torch.dtype | None
) -> tuple[list[AffineLayer], Box]:
    """Affine layers, and the domain in the dtype of the result, with their checks."""
    reading = read_network(network, dimension_of(bounds))
    weight = reading.layers[0].weight
    dtype = dtype or reading.dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"extraction works in float32 or float64, not {dtype}; pass dtype=")
    first = reading.layers[0]
    box = Box.from_bounds(bounds, first.dimension, dtype, weight.device)
    if first.encoding is not None and ((box.lower != BOX[0]) | (box.upper != BOX[1])).any():
        raise InputError(
            f"an encoded network is extracted in the box of its lattices, {BOX[0]} to {BOX[1]}; "
            "leave bounds out"
        )
    check_reading(network, reading, box.lower, box.upper)
    return reading.layers, box


def _extractor(
    extractor: Extractor | None, method: str | None, options: dict[str, Any]
) -> Extractor:
    if extractor is not None:
        if method is not None or options:
            given = ", ".join([*(["method"] if method else []), *options])
            raise InputError(f"{given}: give settings to the extractor, not beside it")
        return extractor
    method = method or "subdivide"
    if method not in METHODS:
        raise InputError(f"method is {method!r}; it can be 'subdivide' or 'trace'")
    try:
        return METHODS[method](**options)
    except TypeError as error:
        raise InputError(
            f"method={method!r} is {METHODS[method].__name__}, which does not have all of the "
            f"options {', '.join(options)}: {error}"
        ) from error
