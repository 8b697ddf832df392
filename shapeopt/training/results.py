"""What a training leaves behind: meshes, picture, report, and the table on the terminal."""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from omegaconf import OmegaConf

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import ExtractionError, InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
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
    to the shape phase has only the latter, and one whose surface was lost only the former. Meshes
    are in units of the input. What takes longest comes last, and each file is written whole: an
    interruption leaves what was done so far.

    Args:
        training: finished or interrupted.
        folder: for the outputs.
        log: gets the last mesh and checkpoint as artifacts.
        name: title of the report.
        up: axis that points up in the pictures, "y" or "z".
        samples: points per surface that the distance to the truth is measured with.

    Raises:
        OSError: if a file cannot be written; names it.
    """
    surfaces: dict[str, PolyhedralSurface] = {}
    exported: dict[str, PolygonMesh] = {}
    for label, surface in _surfaces(training):
        surfaces[label] = surface
        exported[label] = training.cloud.normalisation.undo_mesh(surface)
        for suffix in (".ply", ".glb"):
            write_mesh(exported[label], folder / f"mesh_{label}{suffix}")
    if not surfaces:
        return
    render_png(exported, folder / "surface.png", up=up)
    log.log_artifacts(folder / f"mesh_{label}.ply", folder / "checkpoints" / "last.pt")

    table = summary_table(training, surfaces, samples)
    write_report(
        folder / "report.html",
        name,
        exported,
        table,
        curves_as_shown(read_metrics(folder / METRICS_FILE), training.cloud),
        config=OmegaConf.to_yaml(OmegaConf.create(training.config)),
        subtitle=units_note(training.cloud),
        up=up,
    )
    show_table(table)
    show(units_note(training.cloud))
    show(f"everything is in {folder} (open report.html in a browser)")


def _surfaces(training: Training) -> Iterator[tuple[str, PolyhedralSurface]]:
    """Those that there are, each with its label; says of the others why not."""
    states = {"after": training.network.state_dict()}
    if training.fitted is not None:
        states = {"before": training.fitted} | states
    network = copy.deepcopy(training.network)
    for label, state in states.items():
        network.load_state_dict(state)
        try:
            with torch.no_grad():
                surface = training.extract(network)
        except (InputError, ExtractionError) as error:
            show(f"no mesh_{label}: {error}", sys.stderr)
        else:
            yield label, surface
