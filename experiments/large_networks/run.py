"""Networks as large as the literature's: trained, extracted, and held against marching cubes.

    python -m experiments.large_networks.run --data DIR
    python -m experiments.large_networks.run --data DIR --only "4x128, bunny"

DIR holds stanford-bunny.obj, rocker-arm.obj and spot.obj. Every stage runs in a process of its own,
so that its peak memory is its own; what ``results.json`` holds is not run again. The table in
README.md is written anew.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import shapeopt
from experiments.large_networks.networks import RECIPES, trained, without_norms
from experiments.runs import machine, markdown_table
from shapeopt.commands.evaluate import Mesh
from shapeopt.data.loading import load
from shapeopt.data.reference import MeshReference
from shapeopt.evaluation.measures import evaluate
from shapeopt.mesh.certificate import certify
from shapeopt.networks.reading import affine_layers

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
START, END = "<!-- table -->", "<!-- end of table -->"
COARSE = 64
TUNING = 240.0
"""Seconds that a smooth network's conversion is fitted for."""

SAMPLES = 20_000


def network_of(name: str, folder: Path) -> nn.Module:
    """The trained network of a recipe."""
    network = without_norms(RECIPES[name].make())
    network.load_state_dict(torch.load(folder / f"{file_name(name)}.pt", weights_only=True))
    return network.eval()


def file_name(name: str) -> str:
    return name.replace(", ", "_").replace(" ", "_")


def train(name: str, data: Path, folder: Path) -> dict[str, Any]:
    start = time.monotonic()
    network = trained(RECIPES[name], data)
    seconds = time.monotonic() - start
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / f"{file_name(name)}.pt")
    return {"training_seconds": round(seconds, 1), "steps": RECIPES[name].steps}


def affine(name: str, data: Path, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network to extract: the trained one, or a smooth one's conversion."""
    network = network_of(name, folder)
    if "softplus" not in name:
        return network, {}
    path = folder / f"{file_name(name)}_converted.pt"
    if path.is_file():
        return torch.load(path, weights_only=False), {}
    start = time.monotonic()
    torch.manual_seed(0)
    conversion = shapeopt.convert(network, seconds=TUNING)
    seconds = round(time.monotonic() - start, 1)
    torch.save(conversion.network, path)
    more = {"largest_difference": conversion.largest_difference, "conversion_seconds": seconds}
    return conversion.network, more


@torch.no_grad()
def extract(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Traces the surface, measures it and keeps it for the other stages."""
    with torch.enable_grad():
        network, more = affine(name, data, folder)
    torch.manual_seed(0)  # of a small network that has a surface
    shapeopt.extract_surface(shapeopt.sdf_network(8, 2), method="trace")  # loads the code
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic(), time.process_time()
    surface = shapeopt.extract_surface(network, method="trace", dtype=torch.float64)
    seconds, of_processor = time.monotonic() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    torch.save((surface.vertices, surface.triangles()), folder / f"{file_name(name)}_surface.pt")
    proof = certify(surface)
    doubled = network.double()
    values = torch.cat([doubled(part) for part in surface.vertices.split(2**15)])
    cloud = load(data / f"{RECIPES[name].shape}.obj")
    distances = evaluate(surface, cloud.reference, SAMPLES)
    return more | {
        "seconds": round(seconds, 2),
        "processor_seconds": round(of_processor, 2),
        "peak_bytes": 1024 * peak,
        "vertices": surface.num_vertices,
        "polygons": surface.num_faces,
        "closed": proof.closed,
        "components": len(proof.components),
        "genus": [part.genus for part in proof.components],
        "largest_f": float(values.abs().amax()),
        "distance_to_shape": distances["distance"],
    }


@torch.no_grad()
def through_onnx(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """The same network written as an ONNX file and read again.

    If the layers that extraction works on are equal to the last bit, so is the surface; otherwise
    it is extracted once more and compared.
    """
    network = network_of(name, folder)
    path = folder / f"{file_name(name)}.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3),), path, dynamo=False)
    start = time.monotonic()
    layers = affine_layers(shapeopt.load_network(path), 3)
    seconds = time.monotonic() - start
    pairs = zip(layers, affine_layers(network, 3), strict=True)
    equal = all(
        torch.equal(one.weight, two.weight) and torch.equal(one.bias, two.bias)
        for one, two in pairs
    )
    if equal:
        return {"onnx_reading_seconds": round(seconds, 2), "layers_equal": True}
    surface = shapeopt.extract_surface(
        shapeopt.load_network(path), method="trace", dtype=torch.float64
    )
    vertices, triangles = torch.load(folder / f"{file_name(name)}_surface.pt")
    same_counts = surface.num_vertices == len(vertices)
    return {
        "onnx_reading_seconds": round(seconds, 2),
        "layers_equal": False,
        "triangles_equal": same_counts and torch.equal(surface.triangles(), triangles),
        "vertices": surface.num_vertices,
        "moved": float((surface.vertices - vertices).abs().amax()) if same_counts else None,
    }


@torch.no_grad()
def grid(name: str, data: Path, folder: Path, resolution: int = 256) -> dict[str, Any]:
    """Marching cubes of the trained network, smooth or not, and its distance to our surface."""
    from skimage.measure import marching_cubes

    network = network_of(name, folder)
    timed = [f"{size}, {shape}" for size in ("4x128", "4x256") for shape in ("bunny", "rocker arm")]
    is_dense = resolution == 256 and name in [*timed, "2x512, bunny"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic(), time.process_time()
    values = (dense if is_dense else near)(network, resolution)
    spacing = (1 / (resolution - 1),) * 3
    vertices, triangles, *_ = marching_cubes(values.numpy(), 0.0, spacing=spacing)
    seconds, of_processor = time.monotonic() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    mesh = Mesh(torch.tensor(vertices - 0.5), torch.tensor(triangles.astype("int64")), "mesh")
    exact, exact_triangles = torch.load(folder / f"{file_name(name)}_surface.pt")
    reference = MeshReference(exact.numpy(), exact_triangles.numpy())
    measured = evaluate(mesh, reference, SAMPLES)
    return {
        "grid": "dense" if is_dense else "near the surface",
        "grid_resolution": resolution,
        "grid_seconds": round(seconds, 2),
        "grid_processor_seconds": round(of_processor, 2),
        "grid_peak_bytes": 1024 * peak,
        "grid_triangles": len(triangles),
        "grid_to_exact": measured["distance_to_truth"],
        "exact_to_grid": measured["distance_from_truth"],
        "grid_largest": measured["hausdorff"],
    }


def fine_grid(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """The same on a grid of 512^3, near the zero set alone."""
    return grid(name, data, folder, 512)


def dense(network: nn.Module, resolution: int) -> torch.Tensor:
    """f at all points of a grid over the box."""
    axis = torch.linspace(-0.5, 0.5, resolution)
    slabs = [network(torch.cartesian_prod(x[None], axis, axis)) for x in axis]
    return torch.stack(slabs).view(resolution, resolution, resolution)


def near(network: nn.Module, resolution: int) -> torch.Tensor:
    """f at the points of a grid near its zero set; elsewhere that of a coarse grid's cell.

    A cell is looked at closely if f at its middle is smaller than twice the steepest slope that
    was seen between neighbouring middles lets it reach 0.
    """
    middles = (torch.arange(COARSE) + 0.5) / COARSE - 0.5
    rough = torch.stack([network(torch.cartesian_prod(x[None], middles, middles)) for x in middles])
    rough = rough.view(COARSE, COARSE, COARSE)
    steepest = max(float(rough.diff(dim=axis).abs().amax()) for axis in range(3))
    axis = torch.linspace(-0.5, 0.5, resolution)
    cell = ((axis + 0.5) * COARSE).long().clamp(max=COARSE - 1)
    values = rough[cell][:, cell][:, :, cell].clone()
    is_near = values.abs() < 2 * steepest
    x, y, z = torch.nonzero(is_near).unbind(1)
    points = torch.stack([axis[x], axis[y], axis[z]], dim=1)
    values[is_near] = torch.cat([network(part)[:, 0] for part in points.split(2**15)])
    return values


STAGES = {
    "train": train,
    "extract": extract,
    "onnx": through_onnx,
    "grid": grid,
    "fine grid": fine_grid,
}


def stages_of(name: str) -> list[str]:
    return [stage for stage in STAGES if stage != "onnx" or "DeepSDF" in name]


def main() -> None:
    """Runs what results.json does not hold, and writes it and the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("outputs/large_networks"))
    parser.add_argument("--only", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--stages", nargs="*", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        result = STAGES[options.stage](options.only[0], options.data, options.output)
        print(json.dumps(result))
        return
    for name in options.only:
        for stage in stages_of(name):
            if stage in options.stages and not _is_done(name, stage):
                _run(name, stage, options.data, options.output)
                write_table(HERE / "README.md", _results()["networks"])


def _results() -> dict[str, Any]:
    if RESULTS.is_file():
        return json.loads(RESULTS.read_text())
    return {"machine": machine(), "networks": {}}


def _is_done(name: str, stage: str) -> bool:
    return stage in _results()["networks"].get(name, {})


def _run(name: str, stage: str, data: Path, output: Path) -> None:
    command = [sys.executable, "-m", "experiments.large_networks.run", "--data", str(data)]
    command += ["--output", str(output), "--only", name, "--stage", stage]
    print(f"{name}: {stage}", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        found: dict[str, Any] = {"error": (done.stderr.strip().splitlines() or ["killed"])[-1]}
        print(done.stderr, flush=True)
    else:
        found = json.loads(done.stdout.splitlines()[-1])
    print(found, flush=True)
    if "error" in found:
        return
    results = _results()
    results["networks"].setdefault(name, {})[stage] = found
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def write_table(path: Path, networks: dict[str, Any]) -> None:
    """The table of the results, between two marks of the file."""
    rows = [_row(name, found) for name, found in networks.items() if "extract" in found]
    if not rows or not path.is_file():
        return
    before, rest = path.read_text().split(START)
    after = rest.split(END)[1]
    path.write_text(f"{before}{START}\n{markdown_table(rows)}{END}{after}")


def _row(name: str, found: dict[str, Any]) -> dict[str, str | int | float]:
    exact = found["extract"]
    row: dict[str, str | int | float] = {
        "network": name,
        "steps": found["train"]["steps"],
        "vertices": f"{exact['vertices']:,}",
        "polygons": f"{exact['polygons']:,}",
        "closed": "yes" if exact["closed"] else "no",
        "components": exact["components"],
        "CPU s": _seconds(exact["processor_seconds"]),
        "MB": f"{exact['peak_bytes'] / 1e6:,.0f}",
        "largest abs f": f"{exact['largest_f']:.0e}",
        "from shape, 1e-3": f"{1e3 * exact['distance_to_shape']:.2f}",
    }
    return row | _columns(found.get("grid", {}), 256) | _columns(found.get("fine grid", {}), 512)


def _columns(cubes: dict[str, Any], resolution: int) -> dict[str, str]:
    """What a row says of marching cubes; empty where they were not run."""
    names = [f"MC {resolution}³, CPU s", "triangles", "from exact, 1e-6"]
    names = [name if k == 0 else f"{name} ({resolution}³)" for k, name in enumerate(names)]
    if not cubes:
        return dict.fromkeys(names, "")
    both = 5e5 * (cubes["grid_to_exact"] + cubes["exact_to_grid"])
    seconds = _seconds(cubes["grid_processor_seconds"])
    return dict(
        zip(
            names,
            (
                seconds if cubes["grid"] == "dense" else f"{seconds} (near)",
                f"{cubes['grid_triangles']:,}",
                f"{both:.0f} (largest {1e6 * cubes['grid_largest']:.0f})",
            ),
            strict=True,
        )
    )


def _seconds(value: float) -> str:
    return f"{value:.{0 if value >= 10 else 1}f}"


if __name__ == "__main__":
    main()
