"""A sweep on a real SLURM: four jobs, of which two are stopped half way and go on by themselves."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    # As when a job of more importance takes its place, or its node is lost.
    0: ["scontrol", "requeue"],
    # What SLURM sends before the time is up; submitit then puts the job back in the queue.
    2: ["scancel", "--signal=USR2"],
}


def stop_half_way(number: int, folder: Path, environment: dict[str, str]) -> None:
    """Waits for the run's first checkpoint, and stops its job."""
    for _ in range(1800):
        if list(folder.glob(f"{number}_*/checkpoints/last.pt")):
            break
        time.sleep(0.1)
    running = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i"]
    job = subprocess.run(running, env=environment, capture_output=True, text=True).stdout.strip()
    assert job.endswith(f"_{number}")
    subprocess.run([*STOPS[number], job], env=environment, check=True)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_jobs_that_are_stopped_go_on_from_their_checkpoints(tmp_path):
    pytest.importorskip("submitit")
    command = [sys.executable, "-m", "shapeopt", "train", "-m", *SWEEP, f"output={tmp_path}"]
    with cluster() as variables:
        environment = os.environ | variables
        sweep = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for number in STOPS:
            stop_half_way(number, tmp_path, environment)
        printed, _ = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, printed
    assert "4 of 4 jobs are over" in printed
    assert len(re.findall(r"^\d_width=", printed, re.MULTILINE)) == 4  # the table
    folders = sorted(tmp_path.glob("[0-9]_*"))
    assert len(folders) == 4
    for number, folder in enumerate(folders):
        facts = json.loads((folder / "results.json").read_text())
        assert (facts["finished"], facts["step"]) == (True, 1510)
        log = next((tmp_path / "logs").glob(f"*_{number}_0_log.out")).read_text()
        resumed = [int(step) for step in re.findall(r"resuming at step (\d+)", log)]
        assert len(resumed) == (number in STOPS)
        assert all(100 <= step < 1500 for step in resumed)
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [row["step"] for row in metrics]
        assert steps == sorted(set(steps))
        assert steps[0] == 0
