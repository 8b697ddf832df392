"""A box becomes a ball, and a leaning tower stands.

    python -m experiments.solids.run

Writes results.json, table.md and the pictures next to this file. What is already in the folder of
outputs is not trained again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.runs import ROOT, machine, markdown_table, train
from experiments.solids.ball import ball_row, course
from experiments.solids.figures import draw_course, draw_standing
from experiments.solids.standing import standing
from shapeopt.data import PointCloud
from shapeopt.evaluation.measures import evaluate
from shapeopt.output.run_log import METRICS_FILE, read_metrics
from shapeopt.output.viewing import render_png
from shapeopt.training.checkpoints import extract_checkpoint
from shapeopt.training.config import build

HERE = Path(__file__).parent
TOUCHES = 0.005  # box lengths above the lowest vertex that count as on the ground


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "solids")
    output = parser.parse_args().output

    ball = train(output / "ball", "experiment=ball")
    stand = train(output / "stand", "experiment=stand")
    balls = {name: ball_row(path) for name, path in checkpoints(ball).items()}
    stands = {name: stand_row(path) for name, path in checkpoints(stand).items()}
    steps = course(read_metrics(ball / METRICS_FILE))
    results = {
        "machine": machine(),
        "ball": balls,
        "ball_course": {name: values[::20] for name, values in steps.items()},
        "stand": stands,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "tables.md").write_text(ball_table(balls) + "\n" + stand_table(stands))
    draw_course(steps, HERE / "ball_course.png")
    render_png(surfaces(ball), HERE / "ball.png", size=4, dpi=150)
    draw_standing(surfaces(stand), stands, HERE / "stand.png")


def checkpoints(folder: Path) -> dict[str, Path]:
    """Of the end of the fit phase and of the shape phase."""
    return {
        "before": folder / "checkpoints" / "fit.pt",
        "after": folder / "checkpoints" / "last.pt",
    }


def surfaces(folder: Path) -> dict[str, Any]:
    """Of both checkpoints, in box lengths."""
    return {name: extract_checkpoint(path)[0] for name, path in checkpoints(folder).items()}


def stand_row(checkpoint: Path) -> dict[str, Any]:
    """Whether a checkpoint's solid stands, and how far it is from its data, in box lengths."""
    surface, saved = extract_checkpoint(checkpoint)
    config = OmegaConf.create(saved.config)
    cloud: PointCloud = build(config.data)
    assert cloud.reference is not None  # shapes that are made here have one
    mesh, loss = surface.to_trimesh(), build(config.losses.balance)
    return {
        "polygons": surface.num_faces,
        "watertight": bool(mesh.is_watertight),
        "balance": float(loss(surface)),
        "reach": float(loss.reach(surface).min()),
        **standing(mesh, TOUCHES),
        **evaluate(surface, cloud.reference),
        "seconds": saved.seconds,
    }


def ball_table(rows: dict[str, dict[str, Any]]) -> str:
    """Measures of the box and the ball."""
    lines = {
        "36 π V² / A³": "{quotient:.4f}",
        "the same of its convex hull": "{quotient_hull:.4f}",
        "most for as many polygons": "{best_quotient:.4f}",
        "volume": "{volume:.5f}",
        "area": "{area:.4f}",
        "distance of the vertices from the centre": "{radius_least:.4f} to {radius_most:.4f}",
        "radius of the ball of this volume": "{radius:.4f}",
        "polygons": "{polygons:,}",
    }
    return table(lines, rows)


def stand_table(rows: dict[str, dict[str, Any]]) -> str:
    """Measures of the tower before and after."""
    lines = {
        "least reach, of the balance loss": "{reach:.4f}",
        "centre of mass inside the support by": "{depth:.4f}",
        "tips by, let go (degrees)": "{tips:.1f}",
        "distance to the data x 10⁻³": "{distance_e3:.2f}",
        "largest x 10⁻³": "{hausdorff_e3:.1f}",
        "polygons": "{polygons:,}",
    }
    scaled = {
        name: row | {f"{key}_e3": 1e3 * row[key] for key in ("distance", "hausdorff")}
        for name, row in rows.items()
    }
    return table(lines, scaled)


def table(lines: dict[str, str], rows: dict[str, dict[str, Any]]) -> str:
    """A measure a line, a checkpoint a column."""
    return markdown_table(
        [
            {"": heading} | {name: cell.format(**row) for name, row in rows.items()}
            for heading, cell in lines.items()
        ]
    )


if __name__ == "__main__":
    main()
