"""What a training leaves behind: meshes, picture, report, and the table on the terminal."""

import copy
import sys
from pathlib import Path

import torch

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import EmptySurfaceError
from shapeopt.output.export import write_mesh
from shapeopt.output.report import write_report
from shapeopt.output.run_log import METRICS_FILE, RunLog, read_metrics
from shapeopt.output.terminal import show, show_table
from shapeopt.output.viewing import render_png
from shapeopt.training.loop import Training
from shapeopt.training.summary import curves_as_shown, summary_table, units_note


def write_results(
    training: Training, folder: Path, log: RunLog, name: str, up: str, samples: int
) -> None:
    """Writes meshes before and after, ``surface.png`` and ``report.html``; prints the table.

    *Before* is the end of the fit phase, *after* the current state; a training that has not come
    to the shape phase has only the latter. Meshes are in units of the input.

    Args:
        training: finished or interrupted.
        folder: for the outputs.
        log: gets the last mesh and checkpoint as artifacts.
        name: title of the report.
        up: axis that points up in the pictures, "y" or "z".
        samples: points per surface that the distance to the truth is measured with.
    """
    try:
        surfaces = _surfaces(training)
    except EmptySurfaceError as error:
        show(f"no mesh to write: {error}", sys.stderr)
        return
    exported = {
        label: training.cloud.normalisation.undo_mesh(surface)
        for label, surface in surfaces.items()
    }
    for label, surface in exported.items():
        for suffix in (".ply", ".glb"):
            write_mesh(surface, folder / f"mesh_{label}{suffix}")
    render_png(exported, folder / "surface.png", up=up)
    log.log_artifacts(folder / "mesh_after.ply", folder / "checkpoints" / "last.pt")

    table = summary_table(training, surfaces, samples)
    write_report(
        folder / "report.html",
        name,
        exported,
        table,
        curves_as_shown(read_metrics(folder / METRICS_FILE), training.cloud),
        config=(folder / "config.yaml").read_text(encoding="utf-8"),
        subtitle=units_note(training.cloud),
        up=up,
    )
    show_table(table)
    show(units_note(training.cloud))
    show(f"everything is in {folder} (open report.html in a browser)")


@torch.no_grad()
def _surfaces(training: Training) -> dict[str, PolyhedralSurface]:
    surfaces = {}
    if training.fitted is not None:
        network = copy.deepcopy(training.network)
        network.load_state_dict(training.fitted)
        surfaces["before"] = training.extract(network)
    surfaces["after"] = training.extract(training.network)
    return surfaces
