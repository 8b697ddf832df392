"""Each geometry loss alone on the bunny, then bending against total variation.

    python -m experiments.smoothness.run

Writes results.json, tables.md and the pictures next to this file. What is already in the folder
of outputs is not trained again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.runs import ROOT, machine, markdown_table, measure, surface_of, train
from experiments.smoothness.figures import draw_angles, draw_panels, draw_trade_off
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.losses import NormalVariation, Smoothness
from shapeopt.output.viewing import render_png
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint
from shapeopt.training.config import build
from shapeopt.training.loop import surface_scalars

HERE = Path(__file__).parent
TRUTH = ROOT / "data" / "bunny.ply"

# Name of the row -> what follows `python train.py resume=.../fit.pt`. The targets are near what the
# fit has (volume 0.091, centre of mass at z = -0.157, least reach 0.033): each can be met within a
# tenth of the fit's distance to the truth.
ALONE = {
    "none": ["loss=[distance]"],
    "edge_length": ["loss=[distance,edge_length]", "losses.edge_length.weight=5e-6"],
    "short_edges": ["loss=[distance,short_edges]"],
    "smoothness": ["loss=[distance,smoothness]", "losses.smoothness.weight=2e-3"],
    "normal_variation": ["loss=[distance,normal_variation]"],
    "face_count": ["loss=[distance,face_count]", "losses.face_count.weight=1.5e-7"],
    "polygon_roundness": ["loss=[distance,polygon_roundness]"],
    "area": ["loss=[distance,area]"],
    "volume": ["loss=[distance,volume]", "losses.volume.target=0.0925"],
    "solid_roundness": ["loss=[distance,solid_roundness]"],
    "centroid": ["loss=[distance,centroid]", "losses.centroid.target=[0.0,-0.03,-0.153]"],
    "inertia": ["loss=[distance,inertia]"],
    "balance": ["loss=[distance,balance]", "losses.balance.margin=0.05"],
}
TRADE_OFF = {
    "smoothness": [2e-3, 4e-3, 8e-3],
    "normal_variation": [3e-5, 6e-5],
}
NAMES = {"smoothness_0.004": "dihedral bending", "normal_variation_6e-05": "total variation"}
FLAT, SHARP = 5, 30  # degrees between neighbours that count as nearly flat, or as a sharp edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "smoothness")
    parser.add_argument("--only", nargs="*", help="names of rows to train; all others wait")
    options = parser.parse_args()
    output = options.output.resolve()

    base = train(output / "fit", "loss=[distance]", "training.shape.steps=0")
    fit = base / "checkpoints" / "fit.pt"
    runs = {("alone", name): overrides for name, overrides in ALONE.items()}
    for name, weights in TRADE_OFF.items():
        for weight in weights:
            overrides = [f"loss=[distance,{name}]", f"losses.{name}.weight={weight:g}"]
            runs["trade_off", f"{name}_{weight:g}"] = overrides
    if options.only:
        runs = {key: value for key, value in runs.items() if key[1] in options.only}

    for (_, name), overrides in runs.items():
        train(output / name, f"resume={fit}", *overrides, "evaluation_samples=1000")
    if options.only:
        return
    rows: dict[str, dict[str, Any]] = {"alone": {}, "trade_off": {}}
    start = measured(fit)
    for (part, name), overrides in runs.items():
        rows[part][name] = compared(fit, output / name, overrides) | {"before": start}
    results = {"machine": machine(), **rows}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write_tables(rows, HERE / "tables.md")
    after = {name: surface_of(output / name / "checkpoints" / "last.pt") for _, name in runs}
    draw_panels(
        {"fit": surface_of(fit)} | {name: after[name] for name in ALONE}, HERE / "alone.png"
    )
    chosen = {"fit": surface_of(fit)} | {NAMES[n]: after[n] for n in NAMES}
    render_png(chosen, HERE / "before_after.png", azimuth=20, size=4, dpi=150)
    draw_angles(chosen, HERE / "angles.png")
    draw_trade_off(rows["trade_off"], HERE / "trade_off.png")


def compared(fit: Path, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A row of figures: a shape phase with at most one geometry loss."""
    last = folder / "checkpoints" / "last.pt"
    losses = build(OmegaConf.create(Checkpoint.load(last).config["losses"]))
    command = ["python train.py resume=FIT/checkpoints/fit.pt", *overrides]
    row: dict[str, Any] = {"command": " ".join(command)}
    row["after"] = measured(last)
    for name, loss in losses.items():
        if name != "distance":
            row["weight"] = loss.weight
            row["loss"] = {
                "before": float(loss(extract_checkpoint(fit)[0])),
                "after": float(loss(extract_checkpoint(last)[0])),
            }
    return row


def measured(checkpoint: Path) -> dict[str, Any]:
    """The usual measures of a surface; distances are fractions of the longest side."""
    surface, _ = extract_checkpoint(checkpoint)
    row = measure(checkpoint, TRUTH) | surface_scalars(surface) | bending(surface)
    return row | {"closed": surface.is_closed, "volume": float(surface.volume())}


def bending(surface: PolyhedralSurface) -> dict[str, float]:
    """Both smoothness losses, and where the bending is: shares of it and of the edge length.

    The bending is the sum of edge length times angle, which both losses lower.
    """
    angles, interior = surface.dihedral_angles()
    lengths, degrees = surface.edge_lengths()[interior], angles.rad2deg()
    bent = lengths * angles
    return {
        "smoothness": float(Smoothness(1.0)(surface)),
        "normal_variation": float(NormalVariation(1.0)(surface)),
        "bending": float(bent.sum()),
        "flat_fraction": float(lengths[degrees < FLAT].sum() / lengths.sum()),
        "sharp_fraction": float(bent[degrees > SHARP].sum() / bent.sum()),
    }


def write_tables(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Both tables, as Markdown."""
    alone = [
        {
            "loss": name,
            "weight": f"{row['weight']:g}" if "weight" in row else "",
            "its value": change(**row["loss"]) if "loss" in row else "",
            "distance x 10⁻³": changed(row, "distance", 1e3),
            "polygons": f"{row['before']['polygons']:,} → {row['after']['polygons']:,}",
        }
        for name, row in rows["alone"].items()
    ]
    depth = [
        {
            "loss": name.rsplit("_", 1)[0],
            "weight": f"{row['weight']:g}",
            "dihedral bending": changed(row, "smoothness"),
            "variation of normals": changed(row, "normal_variation"),
            "distance x 10⁻³": changed(row, "distance", 1e3),
            "polygons": f"{row['after']['polygons']:,}",
            f"edges below {FLAT}°": f"{row['after']['flat_fraction']:.0%}",
            f"bending above {SHARP}°": f"{row['after']['sharp_fraction']:.0%}",
        }
        for name, row in rows["trade_off"].items()
    ]
    path.write_text(markdown_table(alone) + "\n" + markdown_table(depth))


def changed(row: Mapping[str, Any], name: str, unit: float = 1.0) -> str:
    """The change of a measure in the shape phase."""
    return change(*(unit * row[when][name] for when in ("before", "after")))


def change(before: float, after: float) -> str:
    """``before → after (change in %)``."""
    return f"{before:.3g} → {after:.3g} ({100 * (after / before - 1):+.1f} %)"


if __name__ == "__main__":
    main()
