"""A sweep on a SLURM of one node, two of whose jobs are stopped half way.

    python -m experiments.cluster.run outputs/cluster

Needs root, slurm-wlm, munge and ``pip install -e '.[cluster]'``. Writes log.txt beside this file.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.one_node import cluster, missing

ROOT = Path(__file__).resolve().parents[2]
SWEEP = [
    "hydra/launcher=slurm",
    "experiment=smoke",
    "training.fit.steps=1500",
    "training.checkpoint_every=100",
    "model.width=7,8",
    "losses.face_count.weight=1e-7,2e-6",
    "logging=none",
]
STOPS = {
    # As when a more important job takes its place, or its node is lost.
    0: ["scontrol", "requeue"],
    # What SLURM sends before the time is up; submitit then puts the job back in the queue.
    2: ["scancel", "--signal=USR2"],
}
"""How the jobs of which runs are stopped."""


def run(folder: Path) -> str:
    """Runs the sweep into a folder; returns what it printed, and when which job was stopped.

    Raises:
        RuntimeError: if it failed, or a job was not where it should have been.
    """
    command = [sys.executable, "-m", "shapeopt", "train", "-m", *SWEEP, f"output={folder}"]
    with cluster() as variables:
        environment = os.environ | variables
        sweep = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        stops = [_stop_half_way(number, folder, environment) for number in STOPS]
        printed, _ = sweep.communicate(timeout=900)
    if sweep.returncode != 0:
        raise RuntimeError(f"the sweep failed:\n{printed}")
    return "\n".join([*stops, printed.rstrip()])


def _stop_half_way(number: int, folder: Path, environment: dict[str, str]) -> str:
    """Waits for the run's first checkpoint and stops its job; returns with which command."""
    for _ in range(3000):
        if list((ROOT / folder).glob(f"{number}_*/checkpoints/last.pt")):
            break
        time.sleep(0.1)
    running = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i"]
    job = subprocess.run(running, env=environment, capture_output=True, text=True).stdout.strip()
    if not job.endswith(f"_{number}"):
        raise RuntimeError(f"job {job or '-'} is running, not that of run {number}")
    stop = [*STOPS[number], job]
    subprocess.run(stop, env=environment, check=True)
    return f"$ {' '.join(stop)}"


def said(folder: Path, number: int) -> list[str]:
    """What the jobs of a run said of where they stopped and went on."""
    log = next((ROOT / folder / "logs").glob(f"*_{number}_0_log.out")).read_text()
    return re.findall(
        r"^(?:interrupted|the state) at step [\d,]+|^resuming at step [\d,]+", log, re.MULTILINE
    )


def main() -> None:
    """Writes the log of a sweep."""
    if missing():
        sys.exit(f"error: {missing()}")
    folder = Path(sys.argv[1])
    lines = [run(folder)]
    lines += [f"run {number}: {line}" for number in range(4) for line in said(folder, number)]
    Path(__file__).with_name("log.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
