"""The training loop on a small network and a small cloud."""

import math
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

import shapeopt
from shapeopt import EmptySurfaceError, InputError
from shapeopt.compiling import clock
from shapeopt.data import Normalisation, PointCloud
from shapeopt.losses import Distance, EdgeLength, FaceCount, FaceTarget, FitLoss, Smoothness
from shapeopt.output.run_log import RunLog, read_metrics
from shapeopt.training.batches import BatchSource
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.loop import KEPT, Phase, Training
from shapeopt.training.schedules import Cosine
from shapeopt.training.summary import summary_table


@pytest.fixture(scope="module")
def cloud() -> PointCloud:
    """An ellipsoid."""
    axes = torch.tensor([0.4, 0.3, 0.25])
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(2000, 3, generator=generator), dim=1)
    normals = torch.nn.functional.normalize(directions / axes, dim=1)
    return PointCloud(directions * axes, normals, Normalisation.identity())


def training(cloud, losses=None, fit_steps=150, shape_steps=10, learning_rate=1e-2, **settings):
    torch.manual_seed(0)
    return Training(
        shapeopt.sdf_network(8, 2),
        cloud,
        losses or {"distance": Distance(1.0), "edge_length": EdgeLength(1e-4)},
        BatchSource(cloud, 5000, 256, [0.01, 0.05], 0.2, seed=0),
        extract=shapeopt.extract_surface,
        fit=Phase(fit_steps, learning_rate, Cosine(), log_every=10),
        shape=Phase(shape_steps, 1e-3, Cosine()),
        **{"gradient_clip": 1.0, "checkpoint_every": 50, **settings},
    )


def run(job: Training, folder: Path) -> bool:
    with RunLog(folder, mode="disabled") as log:
        return job.run(log, folder / "checkpoints")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "loss",
    [
        EdgeLength(3e-4),
        pytest.param(EdgeLength(1e-3, power=2.0), marks=pytest.mark.slow),
        Smoothness(0.1),
        pytest.param(FaceCount(3e-5), marks=pytest.mark.slow),
    ],
    ids=["edge_length", "edge_length_squared", "smoothness", "face_count"],
)
def test_the_shape_phase_lowers_its_loss(cloud, loss, tmp_path):
    job = training(cloud, {"distance": Distance(1.0), "geometry": loss}, shape_steps=60)
    assert run(job, tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    values = [row["loss/geometry"] for row in rows if "loss/geometry" in row]
    assert len(values) == 60
    assert values[-1] < 0.95 * values[0]
    assert rows[-1]["surface/polygons"] > 0


def test_a_list_of_losses_and_no_log_do(cloud, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Training(
        shapeopt.sdf_network(4, 1),
        cloud,
        [Distance(1.0), EdgeLength(1e-4)],
        BatchSource(cloud, 2000, 64),
        fit=Phase(20, 1e-2),
        shape=Phase(2),
    )
    assert list(job.losses) == ["distance", "edge_length"]
    assert job.run()
    assert (job.step, list(tmp_path.iterdir())) == (22, [])
    assert job.extract(job.network).num_faces > 0


@pytest.mark.thorough
def test_fit_reaches_the_cloud(cloud, tmp_path):
    job = training(cloud, fit_steps=500, shape_steps=0)
    before = float(Distance(1.0)(job.batches.batch(job.network, 0)))
    run(job, tmp_path)
    after = float(Distance(1.0)(job.batches.batch(job.network, 0)))
    assert after < 0.015 < before


@pytest.mark.thorough
def test_tracing_trains_as_subdivision_does(cloud, tmp_path):
    """The same surfaces in every step, up to rounding and the order of vertices."""
    rows = {}
    for extractor in (shapeopt.Subdivision(), shapeopt.Tracing()):
        job = training(cloud, shape_steps=20)
        job.extract = partial(shapeopt.extract_surface, extractor=extractor)
        folder = tmp_path / type(extractor).__name__
        run(job, folder)
        metrics = read_metrics(folder / "metrics.jsonl")
        rows[type(extractor).__name__] = [row for row in metrics if "surface/polygons" in row]
    one, two = rows.values()
    assert [row["surface/polygons"] for row in one] == [row["surface/polygons"] for row in two]
    assert one[-1]["loss/total"] == pytest.approx(two[-1]["loss/total"], rel=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("extractor", [shapeopt.Subdivision, shapeopt.Tracing])
@pytest.mark.parametrize("stop", [60, 150, 155])
def test_resuming_is_bit_exact(cloud, tmp_path, stop, extractor):
    losses = {"distance": Distance(1.0), "face_target": FaceTarget(1e-2, faces=0.5)}

    def started():
        job = training(cloud, losses)
        job.extract = partial(shapeopt.extract_surface, extractor=extractor(), dtype=torch.float64)
        return job

    whole = started()
    run(whole, tmp_path / "whole")

    first = started()
    take_step = first._take_step

    def killed():
        if first.step == stop:
            raise RuntimeError("killed")
        return take_step()

    first._take_step = killed
    with pytest.raises(RuntimeError, match="killed"):
        run(first, tmp_path / "first")
    second = started()
    second.restore(Checkpoint.load(tmp_path / "first" / "checkpoints" / "last.pt"))
    assert second.step == stop
    run(second, tmp_path / "second")
    for one, two in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, two)
    assert all(torch.equal(whole.fitted[name], second.fitted[name]) for name in whole.fitted)
    assert whole.first_polygons == second.first_polygons > 0


def test_the_same_seed_gives_the_same_mesh(cloud, tmp_path):
    surfaces = []
    for name in ("one", "two"):
        job = training(cloud)
        run(job, tmp_path / name)
        surfaces.append(shapeopt.extract_surface(job.network))
    assert torch.equal(surfaces[0].vertices, surfaces[1].vertices)
    assert torch.equal(surfaces[0].face_vertices, surfaces[1].face_vertices)


def test_batches_depend_on_seed_and_step(cloud):
    sources = [BatchSource(cloud, 5000, 256, [0.01, 0.05], 0.2, seed=seed) for seed in (0, 0, 1)]
    network = shapeopt.sdf_network(4, 1)
    first, again, other = (source.batch(network, 7).cloud_points for source in sources)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, sources[0].batch(network, 8).cloud_points)


def test_ctrl_c_finishes_the_step_and_saves(cloud, tmp_path):
    job = training(cloud)
    take_step = job._take_step

    def interrupted():
        if job.step == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step()

    job._take_step = interrupted
    assert not run(job, tmp_path)
    assert Checkpoint.load(tmp_path / "checkpoints" / "last.pt").step == job.step == 21
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_divergence_is_named_and_the_last_good_state_kept(cloud, tmp_path):
    class Diverging(FitLoss):
        def __call__(self, batch):
            value = batch.space_values.mean()
            return value * (math.nan if job.step == 30 else 1)

    job = training(cloud, {"bad": Diverging(1.0)})
    with pytest.raises(InputError, match=r"not finite in step 30.*learning_rate"):
        run(job, tmp_path)
    saved = Checkpoint.load(tmp_path / "checkpoints" / "last.pt")
    assert saved.step == 30
    assert all(torch.isfinite(value).all() for value in saved.network.values())


def test_a_vanished_surface_is_named(cloud, tmp_path):
    job = training(cloud, fit_steps=0)
    with torch.no_grad():
        job.network[-1].bias += 10
    with pytest.raises(EmptySurfaceError, match="f ranges from"):
        run(job, tmp_path)
    assert (tmp_path / "checkpoints" / "last.pt").exists()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda cloud: training(cloud, {"edge_length": EdgeLength(1.0)}), "no fit loss"),
        (lambda cloud: training(cloud, [Distance(1.0), Distance(2.0)]), "two losses of one kind"),
        (lambda cloud: training(cloud, fit_steps=-1), "steps"),
        (lambda cloud: training(cloud, learning_rate=0.0), "learning_rate"),
        (lambda cloud: training(cloud, gradient_clip=0.0), "gradient_clip"),
    ],
)
def test_settings_are_checked(cloud, build, message):
    with pytest.raises(InputError, match=message):
        build(cloud)


def test_what_has_no_exact_surface_is_refused_before_the_fit(cloud):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    with pytest.raises(InputError, match="follows tanh"):
        Training(network, cloud, [Distance(1.0)], shape=Phase(1, 1e-3))
    Training(network, cloud, [Distance(1.0)], shape=Phase(0, 1e-3))


def test_a_checkpoint_of_another_network_is_refused(cloud, tmp_path):
    job = training(cloud)
    job.save(tmp_path / "last.pt")
    job.network = shapeopt.sdf_network(9, 2)
    with pytest.raises(InputError, match="another network"):
        job.restore(Checkpoint.load(tmp_path / "last.pt"))


def test_compiling_is_no_part_of_a_step(cloud, capsys):
    job = training(cloud, fit_steps=2, shape_steps=2)
    extract = job.extract

    def compiled(network):
        clock.start()
        time.sleep(0.5)
        clock.end()
        return extract(network)

    job.extract = compiled
    job.run()
    assert 1 <= job.seconds["compiling"] < 2
    assert job.seconds["extraction"] <= job.seconds["shape"]
    surface = job.extract(job.network).detach()
    rows = summary_table(job, {"after": surface}, {"after": {}})
    (row,) = (row for row in rows if "compiling" in row[""])
    assert float(row["after"]) >= 1
    assert "shape: " in capsys.readouterr().err


@pytest.mark.thorough
def test_some_states_of_the_shape_phase_are_kept(cloud, tmp_path):
    job = training(cloud, fit_steps=20, shape_steps=30)
    for step in (31, 50):
        at = training(cloud, fit_steps=20, shape_steps=30)
        if step == 50:
            at.restore(Checkpoint.load(tmp_path / "last.pt"))
        while at.step < step:
            at._take_step()
        at.save(tmp_path / "last.pt")
    job.run()
    assert len(job.history) == KEPT
    assert max(job.history) == 50
    for name, weight in job.network.state_dict().items():
        assert torch.equal(weight, job.history[50][name])
        assert not torch.equal(weight, job.history[min(job.history)][name])
    resumed = Checkpoint.load(tmp_path / "last.pt").history
    assert resumed.keys() == job.history.keys()
    for step, state in resumed.items():
        assert all(torch.equal(state[name], job.history[step][name]) for name in state)


def test_a_short_shape_phase_is_kept_whole(cloud):
    job = training(cloud, fit_steps=3, shape_steps=4)
    job.run()
    assert list(job.history) == [4, 5, 6, 7]
