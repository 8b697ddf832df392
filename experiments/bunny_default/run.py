"""What ``experiment=bunny`` comes to from other seeds and numbers of threads, beside the defaults.

``python -m experiments.bunny_default.run`` does what is not yet in results.json and writes the
file after each training. A training that is already in the folder of outputs is not done again.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.runs import ROOT, machine, markdown_table, surface_of, train
from shapeopt.output.viewing import render_png

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PICTURE = ROOT / "docs" / "bunny.png"
SETTINGS = {"bunny": ["experiment=bunny"], "defaults": []}
SEEDS = range(5)
KEYS = ("settings", "seed", "threads")


def jobs() -> Iterator[tuple[str, int, int]]:
    """Settings, seed, threads: those that tell most first."""
    for settings, threads in (("bunny", 1), ("bunny", 2), ("defaults", 1), ("defaults", 2)):
        for seed in SEEDS:
            yield settings, seed, threads


def main() -> None:
    """Does the jobs that are missing, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "bunny_default")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="those to do")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS), help="those to do")
    options = parser.parse_args()
    for job in jobs():
        done = [[row[key] for key in KEYS] for row in read_results()["rows"]]
        chosen = job[1] in options.seeds and job[2] in options.threads
        if list(job) in done or not chosen:
            continue
        row = measured(options.output / "-".join(map(str, job)), *job)
        print(row, flush=True)
        results = read_results()  # another call may do other threads meanwhile
        results["rows"].append(row)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        (HERE / "tables.md").write_text(table(results["rows"]))
    draw(options.output / "bunny-0-1" / "checkpoints")


def draw(checkpoints: Path) -> None:
    """The README's first picture: a training's surface before its shape phase, and after."""
    names = {"fitted": "fit.pt", "its surface optimised": "last.pt"}
    surfaces = {title: surface_of(checkpoints / name) for title, name in names.items()}
    render_png(surfaces, PICTURE, azimuth=-50, size=3.1)


def read_results() -> dict[str, Any]:
    """The rows so far, and the machine."""
    if RESULTS.is_file():
        return json.loads(RESULTS.read_text())
    return {"machine": machine(), "rows": []}


def measured(folder: Path, settings: str, seed: int, threads: int) -> dict[str, Any]:
    """A training by the command, and what it says of its surfaces; lengths in longest sides."""
    overrides = [*SETTINGS[settings], f"seed={seed}", f"threads={threads}"]
    start, cpu = time.perf_counter(), _cpu_of_children()
    was_there = (folder / "report.html").is_file()
    train(folder, *overrides)
    row: dict[str, Any] = dict(zip(KEYS, (settings, seed, threads), strict=True))
    row["command"] = " ".join(["python train.py", *overrides])
    if not was_there:
        row["seconds"] = round(time.perf_counter() - start, 1)
        row["cpu_seconds"] = round(_cpu_of_children() - cpu, 1)
    surfaces = json.loads((folder / "results.json").read_text())["surfaces"]
    for label in ("before", "after"):
        found = json.loads((folder / f"mesh_{label}.certificate.json").read_text())
        row[label] = {name: surfaces[label][name] for name in ("polygons", "distance", "hausdorff")}
        row[label] |= {"closed": found["closed"], "components": len(found["components"])}
        row[label]["genus"] = [part["genus"] for part in found["components"]]
    return row


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: list[dict[str, Any]]) -> str:
    """One line for each training: fit → end of the shape phase."""
    lines = []
    for row in sorted(rows, key=lambda row: [row[key] for key in KEYS]):
        before, after = row["before"], row["after"]
        polygons = after["polygons"] / before["polygons"] - 1
        distance = after["distance"] / before["distance"] - 1
        lines.append(
            {
                "settings": row["settings"],
                "seed": row["seed"],
                "threads": row["threads"],
                "polygons": f"{before['polygons']:,.0f} → {after['polygons']:,.0f}",
                "change": f"{polygons:+.0%}",
                "distance x 10⁻³": _pair(before["distance"], after["distance"], ".2f"),
                "its change": f"{distance:+.1%}",
                "largest x 10⁻³": _pair(before["hausdorff"], after["hausdorff"], ".0f"),
                "closed": "yes" if after["closed"] else "no",
                "components": after["components"],
                "genus": f"{sum(before['genus'])} → {sum(after['genus'])}",
                "CPU s": f"{row['cpu_seconds']:.0f}" if "cpu_seconds" in row else "-",
            }
        )
    return markdown_table(lines)


def _pair(before: float, after: float, form: str) -> str:
    return f"{1e3 * before:{form}} → {1e3 * after:{form}}"


if __name__ == "__main__":
    main()
