"""Draw a polyhedral complex in 2D: regions by affine map or by class, folds, and the zero set."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shapeopt.complex.polyhedral_complex import PolyhedralComplex
from shapeopt.errors import InputError
from shapeopt.mesh.polygons import order_corners
from shapeopt.output.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLD = "#20232b"
ZERO = "#c8102e"
CLASSES = "Set2"
"""Matplotlib's colours of classes; those of affine maps go round the hue by direction of slope."""


def plot_complex(
    whole: PolyhedralComplex,
    path: str | os.PathLike[str],
    *,
    colour: Literal["map", "class"] = "map",
    size: float = 6,
    dpi: int = 200,
) -> Path:
    """Draws all regions and folds of a network with two inputs.

    Args:
        whole: in 2D. By class: extracted with ``boundaries=True``.
        path: the picture, PNG, SVG or PDF by its suffix. It appears whole or not at all.
        colour: regions by ``"map"``: the direction (hue) and steepness (strength) of the slope of
            the first output, whose zero set is drawn in red; or by ``"class"``, with the decision
            boundaries in red.
        size: longest side of the picture, in inches.
        dpi: pixels per inch, for PNG.

    Returns:
        The path written.

    Raises:
        InputError: for a complex that is not in 2D, or another colour.
        OSError: the file cannot be written.
    """
    if whole.skeleton.constraints.dimension != 2:
        raise InputError("plot_complex draws complexes in 2D; extract_surface draws in 3D")
    if colour not in ("map", "class"):
        raise InputError(f"colour is {colour!r}; it can be 'map' or 'class'")
    regions = whole.cells(2)
    if colour == "class":
        colours = _of_classes(whole.region_labels(regions))
        found = whole.interfaces()
        red = found.vertices[found.corners].view(-1, 2, 2)
    else:
        colours = _of_slopes(whole.region_maps(regions)[0][:, 0].detach().double().cpu())
        output = whole.skeleton.constraints.output
        on_zero = (whole.skeleton.edge_zeros == output).any(dim=1)
        red = whole.vertices[whole.edges[on_zero]]
    corners = order_corners(whole.edges[regions.edges], regions.edge_offsets)
    polygons = whole.vertices[corners].split(regions.edge_offsets.diff().tolist())
    low, high = whole.vertices.detach().aminmax(dim=0)
    drawn = io.BytesIO()
    figure = _drawn(
        polygons, colours, whole.vertices[whole.edges], red, (high - low).tolist(), size
    )
    axes = figure.axes[0]
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])))
    figure.savefig(drawn, format=Path(path).suffix[1:] or "png", dpi=dpi)
    write_whole(Path(path), drawn.getvalue())
    return Path(path)


def _drawn(
    polygons: Sequence[Float[Tensor, "_ 2"]],
    colours: Float[np.ndarray, "r channels"],
    folds: Float[Tensor, "e 2 2"],
    red: Float[Tensor, "k 2 2"],
    sides: Sequence[float],
    size: float,
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.figure import Figure

    width, height = (size * side / max(sides) for side in sides)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_aspect("equal")
    axes.set_axis_off()
    areas = [_numbers(polygon) for polygon in polygons]
    axes.add_collection(PolyCollection(areas, facecolors=colours, edgecolors="none"))
    for ends, colour, thickness in ((folds, FOLD, 0.4), (red, ZERO, 2.0)):
        lines = LineCollection(list(_numbers(ends)), colors=colour, linewidths=thickness)
        lines.set_capstyle("round")
        axes.add_collection(lines)
    return figure


def _numbers(points: Tensor) -> np.ndarray:
    return points.detach().double().cpu().numpy()


def _of_classes(labels: Tensor) -> Float[np.ndarray, "r 4"]:
    import matplotlib

    return matplotlib.colormaps[CLASSES](labels.cpu().numpy() % 8)


def _of_slopes(slopes: Float[Tensor, "r 2"]) -> Float[np.ndarray, "r 3"]:
    """Hue by direction; the steeper, the stronger."""
    from matplotlib.colors import hsv_to_rgb

    steepness = slopes.norm(dim=1)
    strength = (steepness / torch.quantile(steepness, 0.95).clamp(min=1e-300)).clamp(max=1)
    hue = torch.atan2(slopes[:, 1], slopes[:, 0]) / (2 * torch.pi) % 1
    return hsv_to_rgb(
        torch.stack([hue, 0.12 + 0.4 * strength, torch.full_like(hue, 0.97)], 1).numpy()
    )
