"""What a user sees, and finds in the folder, when a training goes wrong.

Each fault ends in one clear line or in a finished training, never in a traceback or half a file;
and what the last line says to type goes on from the last good state.
"""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Container, Iterable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from shapeopt.commands.main import main
from shapeopt.losses import Distance
from shapeopt.output.viewing import render_png
from shapeopt.training import results, run, summary
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.folder_lock import FolderInUseError, locked
from shapeopt.training.interruption import SIGNALS
from shapeopt.training.loop import Training

ROOT = Path(__file__).resolve().parents[2]
FIT, STEPS = 6, 10
SETTINGS = [
    "experiment=smoke",
    "logging.mode=disabled",
    "data=box",
    "data.samples=300",
    "model.width=4",
    "batches.pool_size=300",
    "batches.batch_size=32",
    f"training.fit.steps={FIT}",
    f"training.shape.steps={STEPS - FIT}",
    "training.checkpoint_every=2",
    "evaluation_samples=50",
]


def some(cases: Iterable[Any], fast: Container[Any]) -> list[Any]:
    """Parameters of a test, of which only some are in the fast part."""
    values = ((case, case if isinstance(case, tuple) else (case,)) for case in cases)
    return [
        pytest.param(*value, marks=() if case in fast else pytest.mark.slow)
        for case, value in values
    ]


@pytest.fixture(autouse=True)
def small_picture(monkeypatch):
    monkeypatch.setattr(results, "render_png", partial(render_png, dpi=20))


def typed(*words: str) -> str:
    """Runs a command in this process; returns how it ended: the code, or the line of an error."""
    try:
        main(words)
    except SystemExit as end:
        return str(end.code)
    return ""


def train(folder: Path, *more: str) -> str:
    return typed("train", *SETTINGS, *more, f"output={folder}")


def go_on(printed: str) -> str:
    """Types what a training said last."""
    return typed(*shlex.split(re.findall(r"shapeopt (train .*)", printed)[-1]))


def check_whole(folder: Path) -> None:
    """Every file in the folder is complete."""
    complete: dict[str, Callable[[bytes], object]] = {
        ".jsonl": lambda data: [json.loads(line) for line in data.splitlines()],
        ".json": json.loads,
        ".glb": lambda data: struct.unpack("<I", data[8:12]) == (len(data),),
        ".html": lambda data: data.endswith(b"</html>\n"),
        ".png": lambda data: b"IEND" in data[-12:],
        ".ply": lambda data: data.endswith(b"\n"),
        ".yaml": lambda data: data.endswith(b"\n"),
    }
    for path in folder.rglob("*"):
        assert path.suffix != ".partial"
        if path.suffix == ".pt":
            Checkpoint.load(path)
        elif path.suffix in complete:
            assert complete[path.suffix](path.read_bytes()) is not False, path


def at_step(monkeypatch, step: int, act: Callable[[Training], object]) -> None:
    """Does something just before a step of the training is taken."""
    take_step = Training._take_step

    def acting(training):
        if training.step == step:
            act(training)
        return take_step(training)

    monkeypatch.setattr(Training, "_take_step", acting)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder) == ""
    check_whole(folder)
    return (folder / "mesh_after.ply").read_bytes()


def fill_disk(monkeypatch, after: int) -> list[Path]:
    """Lets so many files be written, and then none; returns a list of the written to come."""
    written, sync = [], os.fsync

    def on_a_disk(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", on_a_disk)
    return written


WRITES = 21
"""Files that an uninterrupted training writes."""


@pytest.mark.thorough
@pytest.mark.parametrize("after", some(range(WRITES), (9, 18)))
def test_a_full_disk_is_one_line_and_can_be_gone_on_from(
    uninterrupted, tmp_path, monkeypatch, capsys, after
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_disk(patch, after)
        said = train(folder)
    assert re.fullmatch(r"error: .*/run/\S+: No space left on device\. To .*output=FOLDER", said)
    check_whole(folder)
    captured = capsys.readouterr()
    assert "rror" not in captured.err
    checkpoints = list(folder.glob("checkpoints/*.pt"))
    if checkpoints:
        assert go_on(captured.out) == ""
        assert (folder / "mesh_after.ply").read_bytes() == uninterrupted
    else:
        assert "go on" not in captured.out


def test_as_many_files_are_written_as_are_tried(tmp_path, monkeypatch):
    written = fill_disk(monkeypatch, 1000)
    assert train(tmp_path / "run") == ""
    assert len(written) == WRITES


@pytest.mark.parametrize(
    ("setting", "message"),
    some(
        [
            ("data.samples=2", "2 points"),
            ("model.width=0", "width is 0"),
            ("evaluation_samples=0", "evaluation_samples"),
            ("logging.mesh_every=-1", "mesh_every"),
            ("resume=nowhere.pt", "nowhere.pt"),
        ],
        [("model.width=0", "width is 0"), ("resume=nowhere.pt", "nowhere.pt")],
    ),
)
def test_a_training_that_is_refused_leaves_no_folder(tmp_path, setting, message):
    assert message in train(tmp_path / "run", setting)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_training_leaves_what_was_there(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("of another\n")
    assert "width is 0" in train(folder, "model.width=0")
    assert (folder / "config.yaml").read_text() == "of another\n"
    with locked(folder):
        assert "in use" in train(folder)
        (folder / "config.yaml").unlink()
        assert "in use" in train(folder)  # even if there is nothing in it but the lock
        assert (folder / ".lock").exists()
    assert not folder.exists()


def test_a_folder_that_is_removed_is_made_again(tmp_path, monkeypatch, capsys, uninterrupted):
    folder = tmp_path / "run"
    at_step(monkeypatch, 7, lambda _: shutil.rmtree(folder))

    def another(_):
        with pytest.raises(FolderInUseError), locked(folder):
            pass

    at_step(monkeypatch, 9, another)
    assert train(folder) == ""
    assert "metrics.jsonl was removed" in capsys.readouterr().out
    check_whole(folder)
    assert (folder / "mesh_after.ply").read_bytes() == uninterrupted
    assert (folder / "report.html").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_again_is_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def replaced(_):
        shutil.rmtree(folder)
        folder.write_bytes(b"in the way")

    at_step(monkeypatch, 7, replaced)
    said = train(folder)
    assert re.fullmatch(r"error: \S+: Not a directory\. To .*output=FOLDER", said)


FIT_RESULTS = {"mesh_before.ply", "mesh_before.glb", "mesh_before.certificate.json", "report.html"}
ALL_MESHES = FIT_RESULTS | {name.replace("before", "after") for name in FIT_RESULTS}
STAGES = {
    "loading": (run, "BatchSource", set()),
    "extraction": (results, "certify_surface", set()),
    "drawing": (results, "render_png", ALL_MESHES),
    "measuring": (summary, "evaluate", ALL_MESHES | {"surface.png"}),
}
"""What is interrupted, and the files that are there by then."""


FAST = {("drawing", signal.SIGINT), ("measuring", signal.SIGTERM)}


@pytest.mark.thorough
@pytest.mark.parametrize(("stage", "number"), some(product(STAGES, SIGNALS), FAST))
def test_a_signal_before_or_after_the_steps(
    tmp_path, monkeypatch, capsys, uninterrupted, stage, number
):
    folder = tmp_path / "run"
    module, name, files = STAGES[stage]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, lambda *_, **__: os.kill(os.getpid(), number))
        assert train(folder) == str(128 + number)
    check_whole(folder)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert folder.exists() == (stage != "loading")
    assert files <= {path.name for path in folder.glob("*")}
    if files:
        assert "not measured" in (folder / "report.html").read_text()
    if stage == "measuring":
        assert go_on(captured.out) == ""
        assert (folder / "mesh_after.ply").read_bytes() == uninterrupted


@pytest.mark.parametrize(("step", "number"), some(product((2, 8), SIGNALS), {(8, signal.SIGTERM)}))
def test_a_signal_in_a_step(tmp_path, monkeypatch, capsys, uninterrupted, step, number):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda _: os.kill(os.getpid(), number))
        assert train(folder) == str(128 + number)
    check_whole(folder)
    printed = capsys.readouterr().out
    assert f"interrupted at step {step + 1}; go on with: " in printed
    assert (folder / "report.html").exists()
    assert (folder / "mesh_before.ply").exists() == (step > FIT)
    if number == signal.SIGTERM:
        assert go_on(printed) == ""
        assert (folder / "mesh_after.ply").read_bytes() == uninterrupted


def test_a_second_signal_ends_a_step_at_once(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"

    def twice(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 7, twice)
    assert train(folder) == "130"
    check_whole(folder)
    assert Checkpoint.load(folder / "checkpoints" / "last.pt").step == 7
    assert "the state at step 7 is kept; go on with: " in capsys.readouterr().out
    assert not (folder / "report.html").exists()


def spoil(monkeypatch, step: int) -> None:
    """The distance is no number from this step on."""
    measure, factors = Distance.__call__, [1.0]
    at_step(monkeypatch, step, lambda _: factors.append(torch.nan))
    monkeypatch.setattr(Distance, "__call__", lambda *given: measure(*given) * factors[-1])


@pytest.mark.thorough
@pytest.mark.parametrize("step", some((3, 8), (8,)))
def test_a_loss_that_is_no_number_is_named(
    tmp_path, monkeypatch, capsys, recwarn, uninterrupted, step
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        spoil(patch, step)
        said = train(folder)
    assert said.startswith(f"error: not finite in step {step}: the loss distance (weight 1) is nan")
    assert "\n" not in said
    check_whole(folder)
    captured = capsys.readouterr()
    assert f"the state at step {step} is kept; go on with: " in captured.out
    assert (folder / "report.html").exists() == (step > FIT)
    assert [str(warning.message) for warning in recwarn if "scalar" in str(warning.message)] == []
    if step > FIT:
        assert go_on(captured.out) == ""
        assert (folder / "mesh_after.ply").read_bytes() == uninterrupted


@pytest.mark.parametrize("shift", some((100.0, -100.0), (100.0,)))
def test_a_surface_that_is_lost_for_good_leaves_the_finished_fit(
    tmp_path, monkeypatch, capsys, shift
):
    """Every update in the shape phase moves f by 100: all is outside, or all inside."""
    folder = tmp_path / "run"
    update = Training._update

    def and_away(training):
        update(training)
        if training.step > FIT:
            with torch.no_grad():
                training.network[-1].bias += shift

    monkeypatch.setattr(Training, "_update", and_away)
    said = train(folder)
    assert said.startswith(f"error: the surface was lost in step {FIT + 1}, after 5 setbacks")
    assert "edge_length (weight " in said
    assert "checkpoints/fit.pt" in said
    assert "\n" not in said
    assert {path.name for path in folder.iterdir()} >= FIT_RESULTS
    check_whole(folder)
    assert Checkpoint.load(folder / "checkpoints" / "last.pt").step == FIT
    assert f"the state at step {FIT} is kept; go on with: " in capsys.readouterr().out


def test_a_surface_that_leaves_the_box_is_come_back_to(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    gone: list[int] = []

    def away(training):
        if not gone:
            gone.append(training.step)
            with torch.no_grad():
                training.network[-1].bias -= 100

    at_step(monkeypatch, 8, away)
    assert train(folder) == ""
    saved = Checkpoint.load(folder / "checkpoints" / "last.pt")
    assert (saved.step, saved.setbacks) == (STEPS, 1)
    assert "no surface in step 8" in capsys.readouterr().out


class DyingRun:
    """A W&B run whose process has gone."""

    id = "1"

    def log(self, *_: object, **__: object) -> None:
        raise BrokenPipeError("the service process\nis gone")

    def finish(self, **_: object) -> None:
        raise BrokenPipeError("the service process is gone")


@pytest.mark.slow
def test_wandb_that_dies_is_one_warning(tmp_path, monkeypatch, capsys, uninterrupted):
    import wandb

    folder = tmp_path / "run"
    monkeypatch.setattr(wandb, "init", lambda **_: DyingRun())
    assert train(folder, "logging.mode=offline") == ""
    (warning,) = re.findall(r"Weights & Biases .*", capsys.readouterr().out)
    assert re.search(r"did not take step 0 \(BrokenPipe.*\)\. Training goes on", warning)
    assert (folder / "mesh_after.ply").read_bytes() == uninterrupted


@pytest.mark.slow
def test_the_command_to_go_on_fits_any_folder(tmp_path, monkeypatch, capsys, uninterrupted):
    folder = tmp_path / 'it\'s a "run", = {1}'
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        quoted = str(folder).replace('"', '\\"')
        assert typed("train", *SETTINGS, f'output="{quoted}"') == str(128 + signal.SIGTERM)
    assert go_on(capsys.readouterr().out) == ""
    assert (folder / "mesh_after.ply").read_bytes() == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [0, 1, 4, 6, 9, 16, 24])
def test_files_that_the_system_cuts_short(tmp_path, kilobytes):
    """A limit on the size of a file stops a write half way, as a disk that fills does."""
    resource = pytest.importorskip("resource")
    limit = (kilobytes * 1024, kilobytes * 1024)
    command = [sys.executable, str(ROOT / "train.py"), *SETTINGS, f"output={tmp_path / 'run'}"]
    done = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (error,) = (line for line in done.stderr.splitlines() if "rror" in line)
    assert re.fullmatch(r"error: \S+/run/\S+: File too large\. .*", error)
    check_whole(tmp_path / "run")
