"""Trainings that are killed at random moments and gone on with, against one that is left alone.

    python -m experiments.trust.kill --trials 50

A trial starts a training in a process of its own, kills it (SIGKILL) at a moment drawn uniformly
from the life of a whole one, goes on from its last checkpoint, and with even odds kills it again.
The processes are forked from one that has imported everything, so that few moments fall on imports.
In the end its meshes, certificates, picture and rows of metrics must be those of a training that
nobody touched, byte for byte. Writes NAME.json with every trial.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.runs import machine, markdown_table
from shapeopt.commands.main import main as shapeopt
from shapeopt.output.run_log import METRICS_FILE, read_metrics

HERE = Path(__file__).parent
SERVER = multiprocessing.get_context("forkserver")
IMPORTED = [
    "hydra",
    "igl",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "scipy.spatial",
    "shapeopt.commands.train",
    "shapeopt.extraction.subdivision.compiled",
    "shapeopt.training.run",
    "torch._inductor.config",
]
FIT_STEPS = 1500
SETTINGS = [
    "experiment=smoke",
    "logging=none",
    "data=box",
    "data.samples=2000",
    "batches.pool_size=5000",
    "evaluation_samples=1000",
    f"training.fit.steps={FIT_STEPS}",
    "training.shape.steps=80",
    "training.checkpoint_every=20",
]
COMPARED = [
    *(f"mesh_{label}{end}" for label in ("before", "after") for end in (".ply", ".glb")),
    "mesh_before.certificate.json",
    "mesh_after.certificate.json",
    "surface.png",
]
STAGES = ("loading", "fit", "shape", "results")
SEEDS = 5  # of trainings; trials take them in turn


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--first-trial", type=int, default=0, help="its number is its seed")
    parser.add_argument("--output", type=Path, default=HERE / "kill", help="path without suffix")
    options = parser.parse_args(arguments)
    SERVER.set_forkserver_preload(IMPORTED)
    started = time.time()
    numbers = range(options.first_trial, options.first_trial + options.trials)
    with tempfile.TemporaryDirectory() as folder:
        untouched = Untouched(Path(folder))
        trials = [trial(number, untouched, Path(folder)) for number in numbers]
    results = {
        "machine": machine(),
        "seconds": round(time.time() - started),
        "settings": SETTINGS,
        "life": untouched.life,
        "same": sum(not row["differs"] for row in trials),
        "trials": trials,
    }
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"{results['same']} of {len(trials)} end as one that nobody touched")
    print(by_stage(trials))


class Untouched:
    """Trainings that nobody interrupts, one for each seed, made when they are asked for.

    Attributes:
        life: seconds that each took, by its seed.
    """

    def __init__(self, folder: Path):
        self.life: dict[int, float] = {}
        self._folder = folder

    def outcome(self, seed: int) -> dict[str, Any]:
        """What it left behind."""
        folder = self._folder / f"untouched_{seed}"
        if seed not in self.life:
            started = time.monotonic()
            process = start(folder, seed)
            process.join()
            if process.exitcode != 0:
                raise RuntimeError(f"the training in {folder} failed")
            self.life[seed] = round(time.monotonic() - started, 2)
        left = outcome(folder)
        if not all(left.values()):
            raise RuntimeError(f"the training in {folder} did not leave all that is compared")
        return left


def trial(number: int, untouched: Untouched, parent: Path) -> dict[str, Any]:
    """One training, killed at least once; which seed, when it was killed, and what differs."""
    draw, seed = random.Random(number), number % SEEDS
    expected, life = untouched.outcome(seed), untouched.life[seed]
    folder = parent / f"trial_{number}"
    kills: list[dict[str, Any]] = []
    while not kills:  # one that was over before its moment came is started again
        shutil.rmtree(folder, ignore_errors=True)
        while not kills or draw.random() < 0.5:
            killed = kill_after(draw.uniform(0, life), folder, seed)
            if killed is None:
                break
            kills.append(killed)
    last = start(folder, seed)
    last.join()
    found = outcome(folder)
    differs = [name for name in expected if found[name] != expected[name]]
    if last.exitcode != 0 or list(folder.rglob("*.partial")):
        differs.append(f"exit code {last.exitcode}, or a file that is left")
    shutil.rmtree(folder)
    print(number, ", ".join(f"{k['stage']} {k['seconds']}" for k in kills), differs, flush=True)
    return {"trial": number, "seed": seed, "kills": kills, "differs": differs}


def start(folder: Path, seed: int) -> multiprocessing.process.BaseProcess:
    """Starts a training, or goes on with the one in the folder."""
    last = folder / "checkpoints" / "last.pt"
    given = [f"resume={last}"] if last.exists() else [*SETTINGS, f"seed={seed}"]
    process = SERVER.Process(target=silent, args=(["train", *given, f"output={folder}"],))
    process.start()
    return process


def silent(arguments: list[str]) -> None:
    """The command line, with nothing on the terminal."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    shapeopt(arguments)


def kill_after(seconds: float, folder: Path, seed: int) -> dict[str, Any] | None:
    """Starts or goes on, and kills; says in which stage it was. None if it ended before that."""
    started = time.time()
    process = start(folder, seed)
    process.join(seconds)
    if process.exitcode is not None:
        return None
    process.kill()
    process.join()
    return {"seconds": round(seconds, 2), **stage(folder, started)}


def stage(folder: Path, started: float) -> dict[str, Any]:
    """How far a process came, by the files it wrote since it was started."""
    written = {path.name for path in folder.rglob("*") if path.stat().st_mtime >= started}
    if METRICS_FILE not in written:
        return {"stage": "loading", "step": None}
    rows = read_metrics(folder / METRICS_FILE)
    step = rows[-1]["step"] if rows else 0
    if written & set(COMPARED):
        return {"stage": "results", "step": step}
    return {"stage": "fit" if step < FIT_STEPS - 1 else "shape", "step": step}


def outcome(folder: Path) -> dict[str, Any]:
    """What a training left that must repeat itself: files, and rows without times."""
    files = {name: (folder / name).read_bytes() for name in COMPARED if (folder / name).exists()}
    rows = [
        json.dumps({name: value for name, value in row.items() if not name.startswith("seconds/")})
        for row in read_metrics(folder / METRICS_FILE)
    ]
    return dict.fromkeys(COMPARED) | files | {METRICS_FILE: rows}


def by_stage(trials: Sequence[dict[str, Any]]) -> str:
    """How many kills there were in each stage, first ones and later ones."""
    first = Counter(row["kills"][0]["stage"] for row in trials)
    later = Counter(kill["stage"] for row in trials for kill in row["kills"][1:])
    return markdown_table(
        [{"killed in": name, "first": first[name], "again": later[name]} for name in STAGES]
    )


if __name__ == "__main__":
    main()
