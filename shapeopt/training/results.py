"""What a training leaves behind: meshes, picture, report, and the table on the terminal."""

import copy
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import ExtractionError, InputError
from shapeopt.extraction.certificate import SurfaceCertificate, certify_surface
from shapeopt.extraction.extractor import Extractor
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.certified import write_certified
from shapeopt.output.files import write_whole
from shapeopt.output.report import write_report
from shapeopt.output.run_log import METRICS_FILE, RunLog, read_metrics
from shapeopt.output.terminal import show, show_table
from shapeopt.output.viewing import render_png
from shapeopt.output.waiting import told
from shapeopt.training.config import build, build_extraction, exporting_extractor
from shapeopt.training.history import surfaces_between
from shapeopt.training.loop import Training
from shapeopt.training.summary import (
    curves_as_shown,
    distance_in_file,
    measured,
    summary_table,
    units_note,
)

RESULTS_FILE = "results.json"


class Result(NamedTuple):
    """A surface that a training came to.

    Attributes:
        surface: in the box of the training.
        mesh: the same in units of the input.
        certificate: what was checked of the surface.
    """

    surface: PolyhedralSurface
    mesh: PolygonMesh
    certificate: SurfaceCertificate


def write_results(training: Training, config: DictConfig, folder: Path, log: RunLog) -> None:
    """Writes meshes before and after, a picture, ``report.html`` and ``results.json``; prints.

    *Before* is the end of the fit phase, *after* the current state; a training that has not come
    to the shape phase has only the latter, and one whose surface was lost only the former. Meshes
    are in units of the input, and miss nothing whatever extractor the training used; a certificate
    stands beside each. What takes longest comes last, and each file is written whole: an
    interruption leaves what was done so far, with a report of it.

    Args:
        training: finished or interrupted.
        config: of the experiment.
        folder: for the outputs.
        log: gets the last mesh and checkpoint as artifacts, and the last numbers as summary.

    Raises:
        OSError: if a file cannot be written; names it.
    """
    unit = 1 / training.cloud.normalisation.scale
    results: dict[str, Result] = {}
    for label, result in _results(training, config):
        results[label] = result
        paths = [folder / f"mesh_{label}{suffix}" for suffix in (".ply", ".glb")]
        with told(f"writing the {result.mesh.num_faces:,} polygons of mesh_{label} ..."):
            write_certified(result.mesh, result.certificate, unit, *paths)
            _write_report(training, config, folder, results, samples=0)
    if not results:
        return
    meshes = {label: result.mesh for label, result in results.items()}
    with told("drawing surface.png ..."):
        render_png(meshes, folder / "surface.png", up=config.up)
    log.log_outcome(folder / "surface.png", paths[1])
    log.log_artifacts(paths[0], folder / "checkpoints" / "last.pt")

    with told(
        f"measuring distances with {config.evaluation_samples:,} samples of each surface ..."
    ):
        table, numbers = _write_report(training, config, folder, results, config.evaluation_samples)
    numbers = {label: n | _topology(results[label].certificate) for label, n in numbers.items()}
    last = _write_numbers(training, config.name, folder, numbers)
    log.summarise({name: value for name, value in last.items() if value is not None})
    show_table(table)
    for label, result in results.items():
        show(f"mesh_{label}: {result.certificate.summary(unit)}")
    show(units_note(training.cloud))
    turned = "z" if config.up == "y" else "y"
    show(f"pictures have {config.up} up; up={turned} turns them")
    show(f"everything is in {folder} (open report.html in a browser)")


def _topology(certificate: SurfaceCertificate) -> dict[str, float]:
    """What was proven, in numbers to sort by: closed is 0 or 1; a genus is that of closed parts."""
    mesh = certificate.mesh
    genera = [part.genus for part in mesh.components if part.genus is not None]
    found: dict[str, float] = {"closed": int(mesh.closed), "components": len(mesh.components)}
    return found | ({"genus": sum(genera)} if genera else {})


def _write_numbers(
    training: Training, name: str, folder: Path, numbers: Mapping[str, Mapping[str, float]]
) -> dict[str, float | None]:
    """The table for programs, such as `shapeopt compare`; returns its last column.

    Names are those of the curves, lengths in longest sides of the data's box.
    """
    surfaces = {
        label: {
            key.removeprefix("surface/"): value if math.isfinite(value) else None
            for key, value in values.items()
        }
        for label, values in numbers.items()
    }
    facts = {
        "name": name,
        "finished": training.step == training.fit.steps + training.shape.steps,
        "step": training.step,
        "seconds": training.seconds,
        "surfaces": surfaces,
    }
    write_whole(folder / RESULTS_FILE, json.dumps(facts, indent=1).encode())
    return list(surfaces.values())[-1]


def _write_report(
    training: Training, config: DictConfig, folder: Path, results: dict[str, Result], samples: int
) -> tuple[list[dict[str, str]], dict[str, dict[str, float]]]:
    """Returns the table in it and its numbers; without samples, distances are not measured."""
    unit = 1 / training.cloud.normalisation.scale
    surfaces = {label: result.surface for label, result in results.items()}
    numbers = {
        label: measured(surface, training.cloud, samples) for label, surface in surfaces.items()
    }
    table = summary_table(training, surfaces, numbers)
    steps = {"before": training.fit.steps, "after": training.step}
    between = {}
    if samples and len(results) == len(steps):
        between = surfaces_between(training, config, surfaces["after"].num_faces)
    write_report(
        folder / "report.html",
        config.name,
        {label: result.mesh for label, result in results.items()},
        table,
        curves_as_shown(read_metrics(folder / METRICS_FILE), training.cloud),
        checks={label: result.certificate.findings(unit) for label, result in results.items()},
        config=OmegaConf.to_yaml(config, resolve=True),
        subtitle=units_note(training.cloud),
        up=config.up,
        steps=[steps[label] for label in results],
        between=between,
        distance=distance_in_file(training.cloud) if samples else None,
    )
    return table, numbers


def _results(training: Training, config: DictConfig) -> Iterator[tuple[str, Result]]:
    """Those that there are, each with its label; says of the others why not."""
    states = {"after": training.network.state_dict()}
    if training.fitted is not None:
        states = {"before": training.fitted} | states
    network = copy.deepcopy(training.network)
    for label, state in states.items():
        network.load_state_dict(state)
        try:
            with told(f"extracting mesh_{label} ..."):
                surface, extractor = _extract(network, config, label)
        except (InputError, ExtractionError) as error:
            show(f"no mesh_{label}: {error}", sys.stderr)
        else:
            mesh = training.cloud.normalisation.undo_mesh(surface)
            with told(f"checking mesh_{label} ..."):
                certificate = certify_surface(network, surface, extractor)
            yield label, Result(surface, mesh, certificate)


@torch.no_grad()
def _extract(
    network: nn.Module, config: DictConfig, label: str
) -> tuple[PolyhedralSurface, Extractor]:
    """The surface by an extractor that misses nothing; where it fails, by that of the training."""
    extractor, own = exporting_extractor(config), build(config.extractor)
    try:
        return build_extraction(config, extractor)(network), extractor
    except ExtractionError as error:
        if type(own) is type(extractor):
            raise
        name = type(own).__name__
        show(f"mesh_{label}: {error}; {name} makes it, and may miss components", sys.stderr)
        return build_extraction(config, own)(network), own
