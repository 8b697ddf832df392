"""Sweeps in other processes: of this machine, and those that submitit starts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_plugins.shapeopt_launchers import Joblib, Slurm, _until
from shapeopt.commands.main import main
from shapeopt.commands.sweep import Sweep
from shapeopt.errors import InputError
from shapeopt.output.viewing import render_png
from shapeopt.training import results

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "experiment=smoke",
    "logging=none",
    "data=box",
    "data.samples=300",
    "batches.pool_size=300",
    "batches.batch_size=32",
    "training.fit.steps=6",
    "training.shape.steps=2",
    "evaluation_samples=50",
]


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    monkeypatch.setattr(results, "render_png", partial(render_png, dpi=20))
    monkeypatch.setattr(Sweep, "goes_on", False)
    monkeypatch.setattr(sys, "argv", ["shapeopt"])


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_runs_on_this_machine(tmp_path, capfd, n_jobs):
    """One fails; a second time, what is done is not trained again."""
    pytest.importorskip("joblib")
    command = ["train", "-m", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={n_jobs}", *TINY]
    command += ["model.width=4,0", f"output={tmp_path}"]
    with pytest.raises(SystemExit, match="1 of the runs failed"):
        main(command)
    printed = capfd.readouterr().out
    assert "2 of 2 runs are over" in printed
    assert re.search(r"^0_width=4 +4 ", printed, re.MULTILINE)
    assert json.loads((tmp_path / "0_width=4" / "results.json").read_text())["finished"]
    assert "width" in (tmp_path / "1_width=0" / "error.txt").read_text()
    assert (tmp_path / "pareto.png").exists()
    with pytest.raises(SystemExit):
        main(command)
    said = printed + capfd.readouterr().out
    if n_jobs > 1:
        assert "everything is in" not in said
        said = (tmp_path / "logs" / "0.log").read_text()
    assert said.index("everything is in") < said.index("is done already")


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_run_whose_folder_another_training_has_is_an_error(tmp_path, launcher):
    if launcher == "joblib":
        pytest.importorskip("joblib")
    (tmp_path / "0_width=4").mkdir()
    (tmp_path / "0_width=4" / "results.json").write_text('{"finished": false}')
    command = ["train", "-m", f"hydra/launcher={launcher}", *TINY, "training.shape.steps=0"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "model.width=4,5,0", f"output={tmp_path}"])
    said = str(ended.value)
    assert "of the runs failed" in said
    assert "1 of the runs could not be made, since other trainings have their folders" in said
    assert str(tmp_path / "0_width=4") in said
    assert (tmp_path / "1_width=5" / "report.html").exists()


@pytest.mark.slow
def test_ctrl_c_lets_the_runs_save_and_the_same_command_goes_on(tmp_path):
    pytest.importorskip("joblib")
    command = [sys.executable, "-m", "shapeopt", "train", "-m", "hydra/launcher=joblib"]
    command += ["hydra.launcher.n_jobs=2", *TINY, "training.fit.steps=3000"]
    command += [
        "training.checkpoint_every=100",
        "model.width=4",
        "seed=0,1,2",
        f"output={tmp_path}",
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        start_new_session=True,  # all of it gets the signal, as from a terminal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while len(list(tmp_path.glob("*/checkpoints/last.pt"))) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the sweep was stopped; go on with: shapeopt train -m hydra/launcher=joblib" in printed
    assert sorted(path.name for path in tmp_path.glob("?_*")) == ["0_seed=0", "1_seed=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"^2_seed=2 +2 .*", done.stdout, re.MULTILINE)
    for number in (0, 1):
        log = (tmp_path / "logs" / f"{number}.log").read_text()
        stopped, resumed = re.search(
            r"interrupted at step ([\d,]+).*resuming at step ([\d,]+)", log, re.DOTALL
        ).groups()
        assert stopped == resumed
        facts = json.loads(next(tmp_path.glob(f"{number}_*/results.json")).read_text())
        assert (facts["finished"], facts["step"]) == (True, 3002)


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line(tmp_path):
    pytest.importorskip("joblib")
    command = [sys.executable, "-m", "shapeopt", "train", "-m", "hydra/launcher=joblib"]
    command += ["hydra.launcher.n_jobs=2", *TINY, "training.fit.steps=20000", "model.width=4"]
    command += ["training.checkpoint_every=50", "seed=0,1", f"output={tmp_path}"]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)
    while not (locks := list(tmp_path.glob("*/checkpoints/last.pt"))):
        assert process.poll() is None
        time.sleep(0.1)
    holder = (locks[0].parents[1] / ".lock").read_text()  # process 123 on a machine
    os.kill(int(holder.split()[1]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: a process of the sweep was killed" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_runs_that_submitit_starts(tmp_path, capfd):
    pytest.importorskip("submitit")
    command = ["train", "-m", "hydra/launcher=slurm", "hydra.launcher.cluster=local", *TINY]
    command += ["model.width=4", "training.fit.steps=200"]
    main([*command, "seed=3,4", f"output={tmp_path}"])
    printed = capfd.readouterr().out
    assert "2 of 2 jobs are over" in printed
    assert re.search(r"^1_seed=4 +4 ", printed, re.MULTILINE)


def test_after_a_signal_no_run_is_begun():
    asked = iter([None, None, 2])
    assert list(_until("abc", lambda: next(asked), [])) == ["a", "b"]
    assert list(_until("abc", lambda: None, [signal.SIGTERM])) == []


@pytest.fixture
def launched(tmp_path):
    """Launches nothing, as far as that goes."""

    def launch(launcher):
        config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
        launcher.setup(hydra_context=None, task_function=None, config=config)
        launcher.launch([["seed=0"], ["seed=1"]], 0)

    return launch


def test_what_is_missing_is_one_line(launched, monkeypatch):
    slurm = Slurm("slurm", wait=True, most_timeouts=0)
    with pytest.raises(InputError, match="uninstall hydra-joblib-launcher"):
        launched(Joblib(2, backend="loky"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        patch.setitem(sys.modules, "joblib", None)
        with pytest.raises(InputError, match=r"shapeopt\[sweep\]"):
            launched(Joblib(2))
        with pytest.raises(InputError, match=r"shapeopt\[cluster\]"):
            launched(slurm)
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="there is no SLURM here"):
        launched(slurm)


SBATCH = """#!/bin/sh
[ -e "{0}/closed" ] && {{ echo "sbatch: error: invalid partition" >&2; exit 1; }}
/bin/cp "$1" "{0}/submitted.sh"
echo Submitted batch job 7
"""


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_slurm_is_asked_for_what_is_set(launched, tmp_path, monkeypatch, capsys):
    """By a stand-in for sbatch, which takes the jobs and does nothing, or refuses them."""
    pytest.importorskip("submitit")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH.format(tmp_path), "srun": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    options = {"timeout_min": 30, "partition": "short", "cpus_per_task": 2, "qos": None}
    options |= {"setup": ["module load python"], "name": "widths"}
    launched(Slurm("slurm", wait=False, most_timeouts=1, **options))
    submitted = (tmp_path / "submitted.sh").read_text()
    for line in ("--array=0-1%2", "--time=30", "--partition=short", "--cpus-per-task=2"):
        assert f"#SBATCH {line}\n" in submitted
    assert "qos" not in submitted
    assert "export SRUN_CPUS_PER_TASK" in submitted
    assert submitted.index("module load python") < submitted.index("\nsrun ")
    assert f"shapeopt compare {tmp_path}" in capsys.readouterr().out
    assert Sweep.goes_on
    (tmp_path / "closed").touch()
    with pytest.raises(InputError, match="SLURM does not take the jobs: invalid partition"):
        launched(Slurm("slurm", wait=False, most_timeouts=1))
