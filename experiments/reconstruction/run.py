"""How close small networks come to known shapes: trains, measures, writes table and pictures."""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.reconstruction.holes import cost_of_holes
from experiments.runs import machine, markdown_table, measure, train
from shapeopt.commands.evaluate import read_truth
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data import MeshReference
from shapeopt.losses import Smoothness
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.viewing import render_png
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint

HERE = Path(__file__).parent
TABLE_START, TABLE_END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Case:
    """A training: the experiment's name, the shape's file without ``.obj``, its upright axis."""

    experiment: str
    shape: str
    up: str = "y"

    @property
    def name(self) -> str:
        return f"{self.experiment}_{self.shape}"


BUNNIES = {
    "3x16": Case("reconstruction_3x16", "stanford-bunny"),
    "3x32, shaped": Case("stanford_bunny", "stanford-bunny"),
    "8x32": Case("reconstruction_8x32", "stanford-bunny"),
}
SHAPES = {
    "fandisk": Case("reconstruction_3x32", "fandisk", up="z"),
    "rocker arm": Case("reconstruction_3x32", "rocker-arm"),
    "spot": Case("reconstruction_3x32", "spot"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is not there yet, then measures everything."""
    parser = argparse.ArgumentParser(prog="python -m experiments.reconstruction.run")
    parser.add_argument("--data", type=Path, required=True, help="folder with the .obj files")
    parser.add_argument("--output", type=Path, default=Path("outputs/reconstruction"))
    options = parser.parse_args(arguments)
    cases = [*BUNNIES.values(), *SHAPES.values()]
    data = options.data.resolve()
    rows = [row for case in cases for row in results(case, data, options.output)]
    deep = options.output / BUNNIES["8x32"].name / "checkpoints" / "last.pt"
    holes = cost_of_holes(deep, data / "stanford-bunny.obj", options.output)
    everything = {"machine": machine(), "rows": rows, "holes": holes}
    (HERE / "results.json").write_text(json.dumps(everything, indent=1) + "\n")
    write_table(HERE / "README.md", rows)
    draw(options.data, options.output)


def results(case: Case, data: Path, output: Path) -> list[dict[str, Any]]:
    """A row for the end of the fit phase, and one for the end of the shape phase if there is one.

    ``cpu_seconds`` and ``wall_seconds`` are those of the whole ``python train.py``, with loading,
    measuring and drawing; the first is what counts where other work runs beside it.
    """
    folder, truth = output / case.name, data / f"{case.shape}.obj"
    clock = folder / "seconds.json"
    before = seconds()
    train(folder, f"experiment={case.experiment}", "data=file", f"data.path={truth}")
    if not clock.is_file():
        spent = {name: round(value - before[name], 1) for name, value in seconds().items()}
        clock.write_text(json.dumps(spent))
    common = {"experiment": case.experiment, "shape": case.shape}
    common |= json.loads(clock.read_text())
    phases = {"fit": folder / "checkpoints" / "fit.pt"}
    if Checkpoint.load(folder / "checkpoints" / "last.pt").fitted is not None:
        phases["shape"] = folder / "checkpoints" / "last.pt"
    return [
        common | {"phase": name} | measure(path, truth) | edges(path, truth)
        for name, path in phases.items()
    ]


def edges(checkpoint: Path, truth: Path) -> dict[str, float]:
    """Total edge length in longest sides of the truth, and mean squared dihedral angle."""
    surface, saved = extract_checkpoint(checkpoint)
    side = read_truth(truth).side * saved.normalisation.scale
    return {
        "edge_length": float(surface.edge_lengths().sum()) / side,
        "smoothness": float(Smoothness(1.0)(surface)),
    }


def seconds() -> dict[str, float]:
    """Time so far: on the clock, and of all cores in child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_seconds": time.perf_counter(),
        "cpu_seconds": children.ru_utime + children.ru_stime,
    }


def write_table(readme: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Puts the rows between the two marks of the README."""
    table = markdown_table([table_row(row) for row in rows])
    before, rest = readme.read_text().split(TABLE_START)
    after = rest.split(TABLE_END)[1]
    readme.write_text(f"{before}{TABLE_START}\n{table}{TABLE_END}{after}")


def table_row(row: dict[str, Any]) -> dict[str, str]:
    """What the README shows of a result: distances in thousandths of the longest side."""
    return {
        "experiment": row["experiment"],
        "shape": row["shape"],
        "phase": row["phase"],
        "polygons": f"{row['polygons']:,}",
        "edge length": f"{row['edge_length']:.0f}",
        "smoothness": f"{row['smoothness']:.3f}",
        "distance x 10⁻³": f"{1e3 * row['distance']:.2f}",
        "largest x 10⁻³": f"{1e3 * row['hausdorff']:.1f}",
        "normals": f"{row['normal_consistency']:.3f}",
        "F-score": f"{row['f_score']:.4f}",
        "CPU seconds": f"{row['cpu_seconds']:.0f}",
    }


def draw(data: Path, output: Path) -> None:
    """The bunny with more and more weights beside the scan, and the other shapes."""
    bunnies = {"the scan": scan(data / "stanford-bunny.obj")}
    bunnies |= {title: upright(case, output) for title, case in BUNNIES.items()}
    shrink(render_png(bunnies, HERE / "bunny.png", azimuth=10, elevation=12, size=4, dpi=100))
    shapes = {title: upright(case, output) for title, case in SHAPES.items()}
    shrink(render_png(shapes, HERE / "shapes.png", azimuth=215, size=4, dpi=100))


def shrink(picture: Path) -> None:
    """Reduces a picture to 64 colours, which makes its file a third as large."""
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(64).save(picture, optimize=True)


def upright(case: Case, output: Path) -> PolyhedralSurface:
    """The fitted surface, in normalised units, z up."""
    surface, _ = extract_checkpoint(output / case.name / "checkpoints" / "last.pt")
    return PolygonMesh.from_polygons(
        z_up(surface.vertices) if case.up == "y" else surface.vertices, polygons_of(surface)
    )


def scan(path: Path) -> PolyhedralSurface:
    """A true mesh as a surface, its longest side 0.9 like that of a normalised cloud, z up."""
    truth = read_truth(path).reference
    assert isinstance(truth, MeshReference)
    vertices = 0.9 * z_up(torch.from_numpy(truth.vertices))
    return PolygonMesh.from_polygons(vertices, truth.faces.tolist())


def z_up(vertices: torch.Tensor) -> torch.Tensor:
    """The same points seen in a world where z is up, and not y."""
    x, y, z = vertices.unbind(1)
    return torch.stack([x, -z, y], dim=1)


if __name__ == "__main__":
    main()
