"""The pictures of this experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.solids.ball import best_quotient
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.viewing import camera_axes, draw


def draw_course(course: Mapping[str, Sequence[float]], path: Path) -> None:
    """Isoperimetric quotient against step, and what is missing to 1 against what must be."""
    figure = Figure(figsize=(9, 3.4), dpi=150)
    whole, missing = figure.subplots(1, 2)
    steps, quotient = np.array(course["step"]), np.array(course["quotient"])
    best = np.array([best_quotient(int(faces)) for faces in course["polygons"]])
    whole.plot(steps, quotient, label="surface")
    whole.axhline(1, color="0.6", lw=0.8)
    whole.set_ylim(top=1.06)
    whole.text(steps[-1], 1.01, "ball", ha="right", color="0.4", size=8)
    whole.axhline(np.pi / 6, color="0.6", lw=0.8)
    whole.text(steps[-1], np.pi / 6 + 0.01, "cube", ha="right", color="0.4", size=8)
    whole.set(xlabel="step of the shape phase", ylabel="36 π V² / A³")
    missing.plot(steps, 1 - quotient, label="surface")
    missing.plot(steps, 1 - best, label="best for as many polygons")
    missing.set(xlabel="step of the shape phase", ylabel="1 - 36 π V² / A³", yscale="log")
    missing.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def draw_standing(
    surfaces: Mapping[str, PolyhedralSurface], rows: Mapping[str, Mapping[str, Any]], path: Path
) -> None:
    """Above each solid from the side, its centre of mass a dot; below its support from above."""
    pixels, camera = 700, camera_axes("z", 0, 8)
    meshes = [mesh_arrays(surface) for surface in surfaces.values()]
    images = draw(meshes, camera, pixels)
    # As draw() places them: one scale and one middle for all.
    seen = np.concatenate([mesh.vertices @ camera.T for mesh in meshes])[:, :2]
    middle, extent = (seen.min(axis=0) + seen.max(axis=0)) / 2, np.ptp(seen, axis=0).max()
    scale = 0.92 * pixels / extent * np.array([1, -1])
    figure = Figure(figsize=(3.6 * len(images), 6.2), dpi=150)
    grid = figure.subplots(2, len(images), height_ratios=(1.7, 1), squeeze=False)
    for (name, row), image, above, below in zip(rows.items(), images, *grid, strict=True):
        center = np.array(row["center"])
        ground = np.append(center[:2], surfaces[name].vertices[:, 2].min())
        plumb = (np.stack([center, ground]) @ camera.T[:, :2] - middle) * scale + pixels / 2
        above.imshow(image)
        above.plot(*plumb.T, "--", color="tab:red", lw=1)
        above.plot(*plumb[0], "o", color="tab:red")
        above.set_axis_off()
        above.set_title(f"{name}\n{surfaces[name].num_faces:,} polygons", fontsize=10)
        _draw_plan(below, surfaces[name], row)
        stands = "stands" if row["tips"] < 5 else "tips over"
        inside = "inside" if row["depth"] > 0 else "outside"
        below.set_title(f"{stands}: {abs(row['depth']):.3f} {inside} the support", fontsize=9)
    figure.tight_layout()
    figure.savefig(path)


def _draw_plan(axes: Any, surface: PolyhedralSurface, row: Mapping[str, Any]) -> None:
    from scipy.spatial import ConvexHull

    shadow = surface.vertices.numpy()[:, :2]
    shadow = shadow[ConvexHull(shadow).vertices]
    axes.fill(*shadow.T, facecolor="0.93", edgecolor="0.6", label="seen from above")
    axes.fill(*np.array(row["support"]).T, color="tab:green", alpha=0.45, label="support")
    axes.plot(*row["center"][:2], "o", color="tab:red", label="centre of mass")
    axes.set_aspect("equal")
    axes.tick_params(labelsize=7)
    axes.legend(frameon=False, fontsize=7, loc="center right")
