"""What a training step through the exact surface costs, against one without.

    python -m experiments.extraction_speed.training_step SCAN [--name MACHINE]

Fits a network to the scan by plain regression. Then, step by step in turn: a plain step, the
surface of the changed network traced warm, traced cold and subdivided, and a whole shape step.
Writes ``training_step_<machine>.json`` and ``.md`` beside this file.
"""

import argparse
import json
import platform
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

import shapeopt
from experiments.runs import machine, markdown_table
from shapeopt.data import load
from shapeopt.losses import Distance, EdgeLength, Smoothness
from shapeopt.training.batches import BatchSource

HERE = Path(__file__).parent


def _finish() -> None:
    """Waits for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Clock:
    """Milliseconds by name, of every time it was entered."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, work: Any) -> Any:
        started = time.perf_counter()
        result = work()
        _finish()
        self.times[name].append(1e3 * (time.perf_counter() - started))
        return result

    def medians(self) -> dict[str, float]:
        return {name: round(statistics.median(times), 2) for name, times in self.times.items()}


class Trainer:
    """A network, its batches and its optimiser."""

    def __init__(self, options: argparse.Namespace):
        torch.manual_seed(0)
        cloud = load(options.scan)
        self.network = shapeopt.sdf_network(options.width, options.depth).to(options.device)
        self.batches = BatchSource(
            cloud, 400_000, options.batch_size, (0.01, 0.05), 0.5, 0, options.device
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        self.distance = Distance(weight=1.0, near=float("inf"))
        self.steps = 0

    def fit_loss(self) -> torch.Tensor:
        self.steps += 1
        return self.distance(self.batches.batch(self.network, self.steps))

    def update(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def plain_step(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.update(self.fit_loss())


def measure(trainer: Trainer, learning_rate: float, repeats: int) -> dict[str, Any]:
    """Medians over steps at a learning rate; milliseconds."""
    extractor = shapeopt.Tracing()

    def tracer() -> shapeopt.PolyhedralSurface:
        return shapeopt.extract_surface(trainer.network, extractor=extractor)

    edge_length, smoothness = EdgeLength(weight=1e-6), Smoothness(weight=1e-3)
    clock, parts = Clock(), Clock()

    def shape_step() -> None:
        fit = parts.time("fit loss", trainer.fit_loss)
        surface = parts.time("trace, with graph", tracer)
        geometry = parts.time(
            "geometry losses",
            lambda: 1e-6 * edge_length(surface) + 1e-3 * smoothness(surface),
        )
        parts.time("backward and update", lambda: trainer.update(fit + geometry))

    for step in range(repeats + 3):
        if step == 3:  # the first ones load code and grow memory
            clock, parts = Clock(), Clock()
        with torch.no_grad():
            tracer()
        clock.time("plain step", lambda: trainer.plain_step(learning_rate))
        with torch.no_grad():
            surface = clock.time("traced warm", tracer)
            cold = clock.time(
                "traced cold", lambda: shapeopt.extract_surface(trainer.network, method="trace")
            )
            clock.time("subdivided", lambda: shapeopt.extract_surface(trainer.network))
        assert surface.num_faces == cold.num_faces
        trainer.plain_step(learning_rate)  # one update before every trace
        _finish()
        clock.time("shape step", shape_step)
    times = clock.medians()
    return {
        "learning rate": learning_rate,
        "polygons": surface.num_faces,
        **times,
        "warm / cold": round(times["traced warm"] / times["traced cold"], 2),
        "shape / plain": round(times["shape step"] / times["plain step"], 1),
        "parts of the shape step": parts.medians(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scan", type=Path, help="mesh or cloud to fit")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--fit-steps", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--name", default=platform.machine(), help="of the machine, for the files")
    options = parser.parse_args()
    trainer = Trainer(options)
    for _ in range(options.fit_steps):
        trainer.plain_step(1e-2)
    rows = [measure(trainer, rate, options.repeats) for rate in (1e-3, 1e-4)]
    settings = {k: v for k, v in vars(options).items() if k not in ("scan", "name")}
    results = {"machine": machine(), "settings": settings, "rows": rows}
    path = HERE / f"training_step_{options.name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    flat = [{k: v for k, v in row.items() if not isinstance(v, dict)} for row in rows]
    parts = [
        {"learning rate": row["learning rate"], **row["parts of the shape step"]} for row in rows
    ]
    text = markdown_table(flat) + "\nWhere a shape step's time goes:\n\n" + markdown_table(parts)
    path.with_name(f"training_step_{options.name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
