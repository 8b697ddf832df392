"""The plot and the picture of the face-count experiment."""

from pathlib import Path
from typing import Any

from experiments.runs import surface_of
from shapeopt.simplify import merge_polygons
from shapeopt.viewing import render_png

MERGE_ERROR = 0.01  # of the picture, longest sides
STYLES = {  # by stage: colour and label
    "plain": ("tab:gray", "plain networks, fitted"),
    "fit": ("tab:blue", "dense networks, fitted"),
    "face_count": ("tab:red", "with the face-count loss"),
}


def draw_pareto(surfaces: list[dict[str, Any]], curve: list[dict[str, float]], path: Path) -> None:
    """Distance against number of faces, both logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        [row["triangles"] for row in curve],
        [1e3 * row["distance"] for row in curve],
        "k-",
        label="decimation of the truth (triangles)",
    )
    for stage, (color, label) in STYLES.items():
        rows = [row for row in surfaces if row["stage"] == stage]
        axes.plot(*_points(rows), "o", color=color, label=label)
        for number, row in enumerate(rows):
            sweep = [row, *row["merged"]]
            merged_label = f"{label}, polygons merged" if number == 0 else None
            axes.plot(*_points(sweep), ".:", color=color, linewidth=1, label=merged_label)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="polygons (of decimation: triangles)",
        ylabel="mean distance, 1e-3 of the longest side",
    )
    ticks = [2, 3, 4, 6, 8, 10]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(1.8, 11)
    axes.set_xlim(90, 6000)
    axes.minorticks_off()
    ticks = [100, 200, 500, 1000, 2000, 5000]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path)


def _points(rows: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    return [row["polygons"] for row in rows], [1e3 * row["distance"] for row in rows]


def draw_bunnies(folder: Path, path: Path) -> None:
    """One training after the fit, after the shape phase, and with merged polygons."""
    before = surface_of(folder / "checkpoints" / "fit.pt").detach()
    after = surface_of(folder / "checkpoints" / "last.pt").detach()
    side = float((after.vertices.amax(dim=0) - after.vertices.amin(dim=0)).max())
    merged = merge_polygons(after, MERGE_ERROR * side)
    panels = {
        "plain fit": before,
        "with the face-count loss": after,
        f"merged within {MERGE_ERROR:g} of the longest side": merged,
    }
    render_png(panels, path, up="y", size=3.6, dpi=110)
