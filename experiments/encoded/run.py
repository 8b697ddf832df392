"""An encoded network against plain ones: distance, polygons, and time.

    python -m experiments.encoded.run --data DIR

DIR holds stanford-bunny.obj. Each network is trained for the same processor time on one thread, at
three learning rates, of which the one with the smallest distance counts. Writes ``results.json``,
and the table in README.md.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import shapeopt
from experiments.runs import machine, markdown_table
from shapeopt.data import PointCloud
from shapeopt.data.loading import load
from shapeopt.evaluation.measures import evaluate
from shapeopt.losses import Distance
from shapeopt.mesh.certificate import certify
from shapeopt.networks import EncodedNetwork
from shapeopt.output.viewing import render_png
from shapeopt.training.batches import BatchSource

HERE = Path(__file__).parent
START, END = "<!-- table -->", "<!-- end of table -->"
RATES = (1e-2, 3e-3, 1e-3)
BATCH = 4096

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "encoded 8, 16, 32": EncodedNetwork,
    "encoded 8, 16": lambda: EncodedNetwork((8, 16)),
    "plain 3 x 32": lambda: shapeopt.sdf_network(32, 3),
    "plain 3 x 64": lambda: shapeopt.sdf_network(64, 3),
    "plain 3 x 200": lambda: shapeopt.sdf_network(200, 3),
}
"""The last has as many weights as the first; the others bracket its number of polygons."""


def train(network: nn.Module, source: BatchSource, seconds: float, rate: float) -> int:
    """Adam for so many seconds of the processor, the rate falling as a cosine of the time.

    Returns how many steps that was.
    """
    loss = Distance(weight=1.0, near=0.003)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    start, step = time.process_time(), 0
    while (spent := time.process_time() - start) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * spent / seconds)) / 2
        value = loss(source.batch(network, step))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        step += 1
    return step


@torch.no_grad()
def measure(network: nn.Module, reference: Any) -> tuple[dict[str, Any], Any]:
    """The traced surface: how far it is from the mesh, its polygons, and the time of extraction."""
    start = time.process_time()
    surface = shapeopt.extract_surface(network, method="trace", dtype=torch.float64)
    seconds = time.process_time() - start
    proof = certify(surface)
    distances = evaluate(surface, reference, 100_000)
    row = {
        "weights": sum(part.numel() for part in network.parameters()),
        "polygons": surface.num_faces,
        "closed": proof.closed,
        "components": len(proof.components),
        "extraction_seconds": round(seconds, 2),
        "distance": distances["distance"],
        "hausdorff": distances["hausdorff"],
        "normal_consistency": distances["normal_consistency"],
    }
    return row, surface


def main() -> None:
    """Trains and measures what results.json does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--picture", action="store_true", help="train three again and draw them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cloud = load(options.data / "stanford-bunny.obj")
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {"machine": machine(), "runs": []}
    for seed in options.seeds:
        source = BatchSource(cloud, batch_size=BATCH, seed=seed)
        for name, make in NETWORKS.items():
            for rate in RATES:
                key = {"network": name, "seed": seed, "rate": rate, "seconds": options.seconds}
                if any(key.items() <= run.items() for run in results["runs"]):
                    continue
                torch.manual_seed(seed)
                network = make()
                steps = train(network, source, options.seconds, rate)
                row, _ = measure(network, cloud.reference)
                results["runs"].append(key | {"steps": steps} | row)
                print(results["runs"][-1], flush=True)
                path.write_text(json.dumps(results, indent=1) + "\n")
    write_table(results["runs"])
    if options.picture:
        draw(results["runs"], cloud)


def best(runs: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Of each seed's runs of a network the one with the smallest distance."""
    of_network = [run for run in runs if run["network"] == name]
    seeds = sorted({run["seed"] for run in of_network})
    every = [[run for run in of_network if run["seed"] == seed] for seed in seeds]
    return [min(some, key=lambda run: run["distance"]) for some in every]


def write_table(runs: list[dict[str, Any]]) -> None:
    """The table between its marks in README.md, if there is one."""
    rows = [
        {
            "network": name,
            "weights": f"{run['weights']:,}",
            "rate": f"{run['rate']:g}",
            "steps": f"{run['steps']:,}",
            "distance, 1e-3": f"{1e3 * run['distance']:.2f}",
            "largest, 1e-3": f"{1e3 * run['hausdorff']:.1f}",
            "normals": f"{run['normal_consistency']:.3f}",
            "polygons": f"{run['polygons']:,}",
            "closed": "yes" if run["closed"] else "no",
            "components": run["components"],
            "extraction, s": f"{run['extraction_seconds']:.1f}",
        }
        for name in NETWORKS
        for run in best(runs, name)
    ]
    path = HERE / "README.md"
    if rows and path.is_file():
        before, rest = path.read_text().split(START)
        path.write_text(f"{before}{START}\n{markdown_table(rows)}{END}{rest.split(END)[1]}")


def draw(runs: list[dict[str, Any]], cloud: PointCloud) -> None:
    """The best of three networks side by side, trained again for the time that they took."""
    source, surfaces = BatchSource(cloud, batch_size=BATCH), {}
    for name in ("encoded 8, 16, 32", "plain 3 x 64", "plain 3 x 200"):
        run = best(runs, name)[0]
        torch.manual_seed(0)
        network = NETWORKS[name]()
        train(network, source, run["seconds"], run["rate"])
        row, surfaces[name] = measure(network, cloud.reference)
        print(name, row, flush=True)
    render_png(surfaces, HERE / "bunny.png", up="y", dpi=100)


if __name__ == "__main__":
    main()
