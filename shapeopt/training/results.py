"""What a training leaves behind: meshes, picture, report, and the table on the terminal."""

import copy
import sys
from pathlib import Path

import torch

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data import CloudReference, PointCloud
from shapeopt.errors import EmptySurfaceError
from shapeopt.evaluation.measures import evaluate
from shapeopt.output.export import write_glb, write_ply
from shapeopt.output.report import write_report
from shapeopt.output.run_log import METRICS_FILE, RunLog, read_metrics
from shapeopt.output.viewing import render_png
from shapeopt.training.loop import Training, surface_scalars


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
        print(f"no mesh to write: {error}", file=sys.stderr)
        return
    exported = {
        label: training.cloud.normalisation.undo_mesh(surface)
        for label, surface in surfaces.items()
    }
    for label, surface in exported.items():
        write_ply(surface, folder / f"mesh_{label}.ply")
        write_glb(surface, folder / f"mesh_{label}.glb")
    render_png(exported, folder / "surface.png", up=up)
    log.log_artifacts(folder / "mesh_after.ply", folder / "checkpoints" / "last.pt")

    table = _table(training, surfaces, samples)
    write_report(
        folder / "report.html",
        name,
        exported,
        table,
        read_metrics(folder / METRICS_FILE),
        config=(folder / "config.yaml").read_text(),
        up=up,
    )
    print_table(table)
    print(f"everything is in {folder} (open report.html in a browser)")


@torch.no_grad()
def _surfaces(training: Training) -> dict[str, PolyhedralSurface]:
    surfaces = {}
    if training.fitted is not None:
        network = copy.deepcopy(training.network)
        network.load_state_dict(training.fitted)
        surfaces["before"] = training.extract(network)
    surfaces["after"] = training.extract(training.network)
    return surfaces


def _table(
    training: Training, surfaces: dict[str, PolyhedralSurface], samples: int
) -> list[dict[str, str]]:
    """Measures of each surface, then of the training, as text under the headings."""
    columns = {
        label: _measures(surface, training.cloud, samples)
        | {f"loss {n}": f"{float(f(surface)):.4g}" for n, f in training.geometry_losses.items()}
        | _costs(training, label)
        for label, surface in surfaces.items()
    }
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [
        {"": name} | {label: column.get(name, "") for label, column in columns.items()}
        for name in names
    ]


def _measures(surface: PolyhedralSurface, cloud: PointCloud, samples: int) -> dict[str, str]:
    """Lengths are fractions of the cloud's longest side, so that shapes can be compared."""
    scalars = surface_scalars(surface)
    errors = evaluate(surface, cloud.reference or _cloud_reference(cloud), samples)
    side = float((cloud.points.amax(dim=0) - cloud.points.amin(dim=0)).max())
    return {
        "polygons": f"{surface.num_faces:,}",
        "polygons expected (L\u00b2/\u03c0A)": f"{scalars['surface/expected_polygons']:,.0f}",
        "distance to truth, mean (1e-3)": f"{1e3 * errors['distance'] / side:.2f}",
        "distance to truth, largest (1e-3)": f"{1e3 * errors['hausdorff'] / side:.1f}",
        "edge length, total": f"{scalars['surface/edge_length_total'] / side:.1f}",
        "edge length, mean (1e-3)": f"{1e3 * scalars['surface/edge_length_mean'] / side:.1f}",
        "bending at edges, mean (degrees)": f"{scalars['surface/bending_mean_degrees']:.2f}",
        "V - E + F": f"{surface.euler_characteristic}",
        "closed": "yes" if surface.is_closed else "no",
    }


def _cloud_reference(cloud: PointCloud) -> CloudReference:
    return CloudReference(cloud.points.double().numpy(), cloud.normals.double().numpy())


def _costs(training: Training, label: str) -> dict[str, str]:
    """What it took to get to the surface *before* (the fit phase) and *after* (the shape phase)."""
    seconds = training.seconds
    if label == "before" or training.fitted is None:
        return {
            "phase": "fit",
            "steps": f"{training.fit.steps:,}",
            "time": f"{seconds['fit']:.0f} s",
        }
    steps = training.step - training.fit.steps
    return {
        "phase": "shape",
        "steps": f"{steps:,}",
        "time": f"{seconds['shape']:.0f} s",
        "time per step": f"{1e3 * seconds['shape'] / max(steps, 1):.0f} ms",
        "of which extraction": f"{seconds['extraction'] / max(seconds['shape'], 1e-9):.0%}",
        "peak memory": f"{peak_memory() / 2**20:,.0f} MiB",
    }


def peak_memory() -> int:
    """Most bytes held so far: of the GPU if one is used, else of the process; 0 if unknown."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def print_table(rows: list[dict[str, str]]) -> None:
    """Prints rows of text in columns, the first to the left and the others to the right."""
    headings = list(rows[0])
    widths = [max(len(heading), *(len(row[heading]) for row in rows)) for heading in headings]
    for row in [dict(zip(headings, headings, strict=True)), *rows]:
        name, *values = row.values()
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *cells]))
