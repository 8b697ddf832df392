"""A sweep on a real SLURM: four jobs, of which two are stopped half way and go on by themselves."""

import json
import re

import pytest

from experiments.cluster.run import STOPS, run, said
from tests.cluster.one_node import missing


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_jobs_that_are_stopped_go_on_from_their_checkpoints(tmp_path):
    pytest.importorskip("submitit")
    printed = run(tmp_path)
    assert "4 of 4 jobs are over" in printed
    assert len(re.findall(r"^\d_width=", printed, re.MULTILINE)) == 4  # the table
    folders = sorted(tmp_path.glob("[0-9]_*"))
    assert len(folders) == 4
    for number, folder in enumerate(folders):
        facts = json.loads((folder / "results.json").read_text())
        assert (facts["finished"], facts["step"]) == (True, 1510)
        resumed = [line for line in said(tmp_path, number) if line.startswith("resuming")]
        assert len(resumed) == (number in STOPS)
        for line in resumed:
            assert 100 <= int(line.split()[-1].replace(",", "")) < 1500
        rows = (folder / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(row)["step"] for row in rows]
        assert steps[0] == 0
        assert steps == sorted(set(steps))
