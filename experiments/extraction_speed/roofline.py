"""How near the work comes to what the processor could do: a roofline, on one thread.

    python -m experiments.extraction_speed.roofline --reference DIR

Measures the processor's own limits (matrix products, copying memory) and then each kind of work, in
turn and in processor time, so that other work on the machine counts little. The least time is the
larger one of its operations by the rate of matrix products and its bytes by the rate of copying.
Writes ``roofline.json`` and the table in README.md. DIR holds bunny_3x16.npz and bunny_8x32.npz.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import shapeopt
from experiments.extraction_speed.run import stored_network
from experiments.runs import machine, markdown_table
from shapeopt.data import load
from shapeopt.losses import Distance
from shapeopt.training.batches import BatchSource

HERE = Path(__file__).parent
START, END = "<!-- roofline -->", "<!-- end of roofline -->"
BATCH = 4096


class Work(NamedTuple):
    """A kind of work.

    Attributes:
        run: does it once.
        unit: what it makes, in words, and ``count`` how many of them.
        operations, bytes: that each of them needs at least.
        dtype: of the operations.
    """

    run: Callable[[], Any]
    unit: str
    count: int
    operations: float
    bytes: float
    dtype: str


def seconds(work: Callable[[], Any], least: float = 0.5, most: int = 30) -> float:
    """The median processor time of one run, after two that do not count."""
    for _ in range(2):
        work()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < least and len(times) < most):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def limits() -> dict[str, float]:
    """Operations a second in matrix products of 512 x 512, and bytes a second read and written."""
    found = {}
    for dtype in (torch.float32, torch.float64):
        one, two = torch.rand(2, 512, 512, dtype=dtype)
        found[str(dtype).removeprefix("torch.")] = 2 * 512**3 / seconds(lambda: one @ two)  # noqa: B023
    source = torch.rand(2**24)
    target = torch.empty_like(source)
    found["bytes"] = 2 * source.nbytes / seconds(lambda: target.copy_(source))
    return found


def widths_of(network: nn.Module) -> list[int]:
    linear = [module for module in network if isinstance(module, nn.Linear)]
    return [linear[0].in_features, *(module.out_features for module in linear)]


def training_step(network: nn.Module) -> Work:
    """Forward and backward: a product and a sum for each weight and point, three times."""
    source = BatchSource(load("data/bunny.ply"), pool_size=100_000, batch_size=BATCH)
    loss = Distance(weight=1.0, near=0.003)
    optimizer = torch.optim.Adam(network.parameters(), 1e-9)

    def step() -> None:
        optimizer.zero_grad()
        loss(source.batch(network, 0)).backward()
        optimizer.step()

    weights = sum(part.numel() for part in network.parameters())
    hidden = sum(widths_of(network)[1:])
    # Values of every neuron are written and read by the ReLU, the next layer and the way back.
    return Work(step, "point of a plain step", BATCH, 6 * weights, 4 * 6 * hidden, "float32")


def traced(network: nn.Module) -> Work:
    """A polygon's maps: four rows (a value and three slopes) through the active neurons, once to
    find the polygon; and its lines: each constraint in the plane's own coordinates."""
    widths = widths_of(network)
    surface = shapeopt.extract_surface(network, method="trace", all_folds=True)
    bits = surface.signs.face_plus_bits.contiguous().view(torch.uint8).int()
    active = float(sum((bits >> i & 1).sum() for i in range(8))) / surface.num_faces
    share = active / sum(widths[1:-1])
    products = sum(
        one * two * (1 if index == 0 else share)
        for index, (one, two) in enumerate(pairwise(widths))
    )
    constraints = sum(widths[1:]) + 6
    operations = 2 * 4 * products + 2 * 9 * constraints
    return Work(
        lambda: shapeopt.extract_surface(network, method="trace", all_folds=True),
        "polygon, traced",
        surface.num_faces,
        operations,
        # What is kept of it: 4 corners in 3D with a constraint each, its signs, two keys.
        4 * (24 + 8) + 4 * len(bits[0]) + 16,
        "float64",
    )


def whole(network: nn.Module) -> Work:
    """A vertex is evaluated by every layer after its own; half of the layers on average."""
    widths = widths_of(network)
    vertices = len(shapeopt.extract_complex(network, dtype=torch.float64).skeleton.vertices)
    products = sum(one * two for one, two in pairwise(widths))
    result = 3 * 8 + 3 * 2 + sum(widths) / 8 + 3 * (8 + 4 + 8)
    return Work(
        lambda: shapeopt.extract_complex(network, dtype=torch.float64),
        "vertex of the whole complex",
        vertices,
        2 * products / 2,
        result + 2 * 8 * sum(widths[1:]) / 2,
        "float64",
    )


def measured(name: str, work: Work, rates: dict[str, float]) -> dict[str, Any]:
    spent = seconds(work.run) / work.count
    least = max(work.operations / rates[work.dtype], work.bytes / rates["bytes"])
    bound = "operations" if least == work.operations / rates[work.dtype] else "memory"
    return {
        "network": name,
        "unit": work.unit,
        "count": work.count,
        "operations": round(work.operations),
        "bytes": round(work.bytes),
        "least_ns": round(1e9 * least, 1),
        "bound_by": bound,
        "measured_ns": round(1e9 * spent, 1),
        "share": round(least / spent, 3),
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rates = limits()
    small, deep = (
        stored_network(options.reference / f"{n}.npz") for n in ("bunny_3x16", "bunny_8x32")
    )
    rows = [measured("3 x 16", training_step(small), rates)]
    with torch.no_grad():
        for name, network in {"3 x 16": small, "8 x 32": deep}.items():
            rows.append(measured(name, traced(network), rates))
        rows.append(measured("3 x 16", whole(small), rates))
        rows.append(measured("2 x 64", whole(shapeopt.sdf_network(64, 2)), rates))
    results = {"machine": machine(), "rates": rates, "rows": rows}
    (HERE / "roofline.json").write_text(json.dumps(results, indent=1) + "\n")
    write_table(rates, rows)


def write_table(rates: dict[str, float], rows: list[dict[str, Any]]) -> None:
    """Between its marks in README.md."""
    table = markdown_table(
        [
            {
                "network": row["network"],
                "unit": row["unit"],
                "count": f"{row['count']:,}",
                "operations": f"{row['operations']:,}",
                "bytes": f"{row['bytes']:,}",
                "least, ns": f"{row['least_ns']:,.0f} ({row['bound_by']})",
                "measured, ns": f"{row['measured_ns']:,.0f}",
                "share": f"{100 * row['share']:.0f} %",
            }
            for row in rows
        ]
    )
    said = (
        f"Matrix products: {rates['float32'] / 1e9:.0f} and {rates['float64'] / 1e9:.0f} billion "
        f"operations a second (float32, float64); copying: {rates['bytes'] / 1e9:.1f} GB/s.\n"
    )
    path = HERE / "README.md"
    before, rest = path.read_text().split(START)
    path.write_text(f"{before}{START}\n{said}\n{table}{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
