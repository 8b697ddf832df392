"""What the experiments share: run a training as a user would, measure it, write a table."""

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shapeopt.commands.evaluate import Mesh, read_truth
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.evaluation.measures import evaluate
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint

ROOT = Path(__file__).parents[1]


def train(folder: Path, *overrides: str) -> Path:
    """Runs ``python train.py`` with the overrides unless the folder already holds its outputs.

    Returns:
        The folder, with ``checkpoints/last.pt`` and, after a fit phase, ``checkpoints/fit.pt``.

    Raises:
        subprocess.CalledProcessError: if the training fails.
    """
    if not (folder / "report.html").is_file():
        command = [sys.executable, "train.py", *overrides, f"output={folder.resolve()}"]
        print("python", *command[1:], flush=True)
        subprocess.run([*command, "logging=none"], cwd=ROOT, check=True)
    return folder


def measure(checkpoint: Path, truth: Path, samples: int = 100_000) -> dict[str, Any]:
    """Polygons of a checkpoint's surface, its distances, and the seconds of its training.

    Lengths are fractions of the truth's longest side; see :func:`shapeopt.evaluation.evaluate`.
    """
    surface, saved = surface_of(checkpoint), Checkpoint.load(checkpoint)
    row: dict[str, Any] = {"polygons": surface.num_faces, "vertices": surface.num_vertices}
    row |= {f"seconds_{phase}": round(value, 1) for phase, value in saved.seconds.items()}
    return row | measure_triangles(surface.vertices, surface.triangles(), truth, samples)


def measure_triangles(
    vertices: torch.Tensor, triangles: torch.Tensor, truth: Path, samples: int = 100_000
) -> dict[str, float]:
    """Distances of a triangle mesh, in the truth's coordinates, as :func:`measure` gives them."""
    true = read_truth(truth)
    moved = Mesh(true.normalisation.apply(vertices), triangles.long(), "mesh")
    return evaluate(moved, true.reference, samples)


def surface_of(checkpoint: Path) -> PolyhedralSurface:
    """The exact surface of a checkpoint, in units of its input."""
    surface, saved = extract_checkpoint(checkpoint)
    return saved.normalisation.undo_mesh(surface)


def markdown_table(rows: Sequence[Mapping[str, str | int | float]]) -> str:
    """Rows as a Markdown table under their keys; the first column to the left."""
    headings = list(rows[0])
    lines = [" | ".join(headings), " | ".join(["---"] + ["--:"] * (len(headings) - 1))]
    lines += [" | ".join(str(row[heading]) for heading in headings) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def machine() -> dict[str, Any]:
    """What the figures of a run depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }
