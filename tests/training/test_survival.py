"""What a run comes through: signals, damaged files, wrong settings, losses that are no numbers."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

import shapeopt
from shapeopt import InputError, PolygonMesh
from shapeopt.data import Normalisation, PointCloud
from shapeopt.losses import Distance, EdgeLength, GeometryLoss
from shapeopt.training.batches import BatchSource
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.folder_lock import locked
from shapeopt.training.loop import Training
from shapeopt.training.phases import Phase
from shapeopt.training.run import run

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "tests" / "files" / "version_0.1_fit.pt"


@pytest.fixture(scope="module")
def cloud() -> PointCloud:
    """A ball."""
    generator = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=1)
    return PointCloud(0.3 * normals, normals, Normalisation.identity())


def training(cloud: PointCloud, *losses: GeometryLoss) -> Training:
    torch.manual_seed(0)
    named = {type(loss).__name__: loss for loss in losses}
    return Training(
        shapeopt.sdf_network(6, 1),
        cloud,
        {"distance": Distance(1.0), **named},
        BatchSource(cloud, 2000, 128, [0.01, 0.05], 0.2, seed=0),
        fit=Phase(5, 1e-2),
        shape=Phase(4, 1e-3),
    )


@dataclass(frozen=True)
class Broken(GeometryLoss):
    """No number, with a gradient that is none either."""

    def __call__(self, surface: PolygonMesh) -> Tensor:
        return (surface.vertices.sum() - surface.vertices.sum().detach()).sqrt()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(cloud, tmp_path, number):
    job = training(cloud)
    extract = job.extract

    def interrupted(network):
        os.kill(os.getpid(), number)
        return extract(network)

    job.extract = interrupted
    before = signal.getsignal(number)
    assert not job.run(None, tmp_path)
    assert job.stopped_by == number
    assert Checkpoint.load(tmp_path / "last.pt").step == job.step == 6
    assert signal.getsignal(number) is before


def test_a_gradient_that_is_no_number_names_its_loss_and_keeps_the_last_good_state(cloud, tmp_path):
    job = training(cloud, EdgeLength(1e-4), Broken(0.5))
    with pytest.raises(InputError, match=r"Broken.*0\.5"):
        job.run(None, tmp_path)
    saved = Checkpoint.load(tmp_path / "last.pt")
    assert saved.step == 5
    assert all(bool(torch.isfinite(part).all()) for part in saved.network.values())


def test_a_surface_that_is_lost_is_come_back_to_with_a_smaller_rate(cloud, tmp_path):
    job = training(cloud, EdgeLength(1e-4))
    extract, lost = job.extract, []

    def sometimes(network):
        if job.step == 7 and not lost:
            lost.append(job.step)
            raise shapeopt.EmptySurfaceError("nothing is left")
        return extract(network)

    job.extract = sometimes
    assert job.run(None, tmp_path)
    assert lost == [7]
    assert job.setbacks == 1


def test_a_surface_that_is_lost_for_good_ends_the_training_and_names_the_losses(cloud, tmp_path):
    job = training(cloud, EdgeLength(1e-4))
    extract = job.extract

    def until_then(network):
        if job.step >= 7:
            raise shapeopt.EmptySurfaceError("nothing is left")
        return extract(network)

    job.extract = until_then
    with pytest.raises(InputError, match="EdgeLength"):
        job.run(None, tmp_path)
    assert Checkpoint.load(tmp_path / "last.pt").step <= 7
    assert (tmp_path / "fit.pt").exists()


def test_a_folder_is_held_by_one_training_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="in use"), locked(tmp_path):
        pass
    with locked(tmp_path):  # it is free again
        pass


def test_a_checkpoint_cut_short_or_flipped_anywhere_is_refused_or_right(tmp_path):
    data, path = CHECKPOINT.read_bytes(), tmp_path / "x.pt"
    right = Checkpoint.load(CHECKPOINT)
    refused = 0
    for place in range(0, len(data), len(data) // 60):
        flipped = data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]
        for damaged in (data[:place], flipped):
            path.write_bytes(damaged)
            try:
                found = Checkpoint.load(path)
            except InputError as error:
                refused += "x.pt" in str(error)
            else:
                assert found.step == right.step
    assert refused > 60


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.fit.steps=1.5", "steps"),
        ("seed=abc", "seed"),
        ("seed=-1", "seed"),
        ("evaluation_samples=0", "evaluation_samples"),
        ("losses.edge_length.weight=abc", "weight"),
        ("batches.batch_size=0", "batch_size"),
        ("batches.near_std=3", "near_std"),
        ("data.margin=x", "margin"),
        ("surface.bounds=0.5", "bounds"),
        ("surface.dtype=int8", "dtype"),
        ("up=w", "up"),
        ("logging.mode=sometimes", "mode"),
    ],
)
def test_wrong_settings_are_named_before_any_work(tmp_path, setting, message):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["experiment=smoke", "logging=none", "output=x", setting])
    with pytest.raises(InputError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_it_ends_where_an_uninterrupted_run_does(tmp_path):
    settings = ["experiment=smoke", "logging=none", "checkpoint_every=20"]
    settings[2] = f"training.{settings[2]}"
    command = [sys.executable, str(ROOT / "train.py")]

    def ended(folder: Path, *more: str, kill_after: float | None = None) -> bool:
        everything = [*command, *more, f"output={folder}"]
        process = subprocess.Popen(everything, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            return process.wait(kill_after) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False

    assert ended(tmp_path / "whole", *settings)
    expected = Checkpoint.load(tmp_path / "whole" / "checkpoints" / "last.pt")
    folder, kills, last = tmp_path / "killed", 0, tmp_path / "killed" / "checkpoints" / "last.pt"
    for seconds in (5.0, 5.5, 6.0, 6.5):
        given = [f"resume={last}"] if last.exists() else settings
        kills += not ended(folder, *given, kill_after=seconds)
    assert ended(folder, *([f"resume={last}"] if last.exists() else settings))
    found = Checkpoint.load(last)
    assert kills > 0
    assert found.step == expected.step
    assert all(torch.equal(found.network[name], part) for name, part in expected.network.items())
