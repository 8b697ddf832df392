"""What cutting the box into blocks does to memory and time.

    python -m experiments.extraction_speed.blocks [NETWORK]

Each case runs in a process of its own. Writes ``blocks.json`` and prints the same as a table.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

import shapeopt
from experiments.extraction_speed.run import load
from experiments.runs import machine, markdown_table

HERE = Path(__file__).parent
MEGABYTE = 1 << 20
START = "sdf_network(64, 4)"
"""As a training starts, seed 0."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default=START, help="a stored one, path.npz")
    parser.add_argument("--blocks", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.network, *json.loads(options.case))))
        return
    cases = [(n, p) for n in options.blocks for p in options.processes if n > 1 or p == 1]
    rows = []
    for case in cases:
        command = [sys.executable, "-m", "experiments.extraction_speed.blocks"]
        command += [options.network, "--case", json.dumps(case)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=-1, text=True).stdout))
        print(rows[-1], flush=True)
    if len({row["keys"] for row in rows}) > 1:
        raise SystemExit("the vertices are not the same in all cases")
    results = {"machine": machine(), "network": Path(options.network).stem, "cases": rows}
    (HERE / "blocks.json").write_text(json.dumps(results, indent=1) + "\n")
    print(markdown_table([{k: v for k, v in row.items() if k != "keys"} for row in rows]))


def measured(name: str, blocks: int, processes: int) -> dict:
    """Seconds, memory above what the loaded code takes, and the keys of all vertices."""
    torch.manual_seed(0)
    network = shapeopt.sdf_network(64, 4) if name == START else load(name)
    with torch.no_grad():
        shapeopt.extract_surface(shapeopt.sdf_network(16, 2))  # loads the code
        before = peak()
        started = time.perf_counter()
        surface = shapeopt.extract_surface(
            network, dtype=torch.float64, blocks=blocks, processes=processes
        )
        seconds = time.perf_counter() - started
    keys = surface.signs.vertex_keys.sort().values.numpy().tobytes()
    return {
        "blocks": f"{blocks}^3",
        "processes": processes,
        "seconds": round(seconds, 1),
        "memory, MB": round(max(peak() - before, 0) / MEGABYTE),
        "memory of a worker, MB": round(peak(resource.RUSAGE_CHILDREN) / MEGABYTE),
        "vertices": surface.num_vertices,
        "polygons": surface.num_faces,
        "keys": hashlib.sha256(keys).hexdigest()[:16],
    }


def peak(who: int = resource.RUSAGE_SELF) -> int:
    """The most memory that the process (or a finished child of it) has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


if __name__ == "__main__":
    main()
