"""The plot and the picture of the face-count experiment."""

from pathlib import Path
from typing import Any

from experiments.runs import surface_of
from shapeopt.output.viewing import render_png
from shapeopt.simplify import merge_polygons

MERGE_ERROR = 0.01  # of the picture, longest sides
STYLES = {  # by kind of network and stage: colour, marker and label
    ("plain", "fit"): ("tab:gray", "s", "plain networks, fit"),
    ("plain", "face_count"): ("tab:orange", "s", "plain networks, with face count"),
    ("dense", "fit"): ("tab:blue", "o", "dense networks, fit"),
    ("dense", "control"): ("tab:cyan", "o", "dense networks, shaped without it"),
    ("dense", "face_count"): ("tab:red", "o", "dense networks, with face count"),
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
    for (kind, stage), (color, marker, label) in STYLES.items():
        rows = [r for r in surfaces if r["network"].startswith(kind) and r["stage"] == stage]
        axes.plot(*_points(rows), marker, color=color, label=label)
        for row in rows:
            axes.plot(*_points([row, *row["merged"]]), ".:", color=color, linewidth=1)
    axes.plot([], [], "k.:", linewidth=1, label="their polygons merged")
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


def draw_bunnies(fit: Path, shaped: Path, path: Path) -> None:
    """Checkpoints of one network before and after its shape phase, and merged polygons."""
    before, after = surface_of(fit).detach(), surface_of(shaped).detach()
    side = float((after.vertices.amax(dim=0) - after.vertices.amin(dim=0)).max())
    merged = merge_polygons(after, MERGE_ERROR * side)
    panels = {
        "rough fit": before,
        "shaped with face count": after,
        f"merged within {MERGE_ERROR:g} of the side": merged,
    }
    render_png(panels, path, up="y", size=3.6, dpi=110)
