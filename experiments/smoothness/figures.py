"""The pictures of this experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.viewing import camera_axes, draw

LABELS = {"smoothness": "dihedral bending", "normal_variation": "total variation of normals"}


def draw_panels(surfaces: Mapping[str, PolyhedralSurface], path: Path, columns: int = 7) -> None:
    """All surfaces in a grid, seen by one camera at one scale."""
    images = draw([mesh_arrays(s) for s in surfaces.values()], camera_axes("z", 30, 18), 420)
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.5 * columns, 2.5 * rows), dpi=170)
    grid = figure.subplots(rows, columns).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (name, surface), image in zip(grid, surfaces.items(), images, strict=False):
        axes.imshow(image[:, 70:-70])
        axes.set_title(f"{name}\n{surface.num_faces:,} polygons", fontsize=8)
    figure.tight_layout(pad=0.6)
    save_small(figure, path)


def draw_angles(surfaces: Mapping[str, PolyhedralSurface], path: Path) -> None:
    """How much of the bending is in edges sharper than an angle."""
    figure = Figure(figsize=(5.5, 3.6), dpi=150)
    axes = figure.subplots()
    for name, surface in surfaces.items():
        angles, interior = (x.numpy() for x in surface.dihedral_angles())
        bent = surface.edge_lengths().numpy()[interior] * angles
        order = np.argsort(angles)
        above = bent[order][::-1].cumsum()[::-1]
        axes.plot(np.degrees(angles[order]), above, label=name)
    axes.set(xscale="log", xlim=(1, 120), ylim=(0, None))
    axes.set_xlabel("angle at the edge (degrees)")
    axes.set_ylabel("bending in sharper edges (length x radians)")
    ticks = [1, 3, 10, 30, 100]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def draw_trade_off(rows: Mapping[str, Any], path: Path) -> None:
    """Both measures of smoothness against the distance, a point per weight."""
    figure = Figure(figsize=(9, 3.6), dpi=150)
    start = next(iter(rows.values()))["before"]
    for axes, measure in zip(figure.subplots(1, 2), LABELS, strict=True):
        for loss, label in LABELS.items():
            chosen = [row for name, row in rows.items() if name.rsplit("_", 1)[0] == loss]
            points = [start] + [row["after"] for row in chosen]
            x, y = ([p[key] for p in points] for key in ("distance", measure))
            axes.plot(1e3 * np.array(x), y, "o-", label=f"loss: {label}")
            for row in chosen:
                at = (1e3 * row["after"]["distance"], row["after"][measure])
                axes.annotate(f"{row['weight']:g}", at, (4, 4), textcoords="offset points", size=7)
        axes.plot(1e3 * start["distance"], start[measure], "ks", label="fit")
        axes.set_xlabel("distance to the truth, 10⁻³ of the longest side")
        axes.set_ylabel(LABELS[measure])
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def save_small(figure: Figure, path: Path, colors: int = 64) -> None:
    """Writes a PNG with a palette, a third of the size."""
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(colors).save(path, optimize=True)
