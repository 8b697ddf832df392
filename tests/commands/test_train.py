"""The command itself, in a process of its own, as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trimesh
from omegaconf import OmegaConf

from shapeopt.training.checkpoints import Checkpoint

ROOT = Path(__file__).resolve().parents[2]


def train(*arguments: str, expect: int = 0) -> str:
    """Runs train.py from the repository and returns all it printed."""
    done = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == expect, output
    return output


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("smoke") / "run"
    return folder, train("experiment=smoke", f"output={folder}")


def test_everything_is_left_behind(smoke):
    folder, printed = smoke
    for name in ("config.yaml", "metrics.jsonl", "surface.png", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert OmegaConf.load(folder / "config.yaml").name == "smoke"
    for name in ("before", "after"):
        for kind in ("ply", "glb"):
            mesh = trimesh.load(folder / f"mesh_{name}.{kind}", force="mesh")
            assert len(mesh.faces) > 10
        certificate = json.loads((folder / f"mesh_{name}.certificate.json").read_text())
        assert certificate["complete"]
        assert sum(part["polygons"] for part in certificate["components"]) > 10
    assert Checkpoint.load(folder / "checkpoints" / "last.pt").step == 310
    assert Checkpoint.load(folder / "checkpoints" / "fit.pt").step == 300
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    for row in (
        "polygons",
        "distance to truth",
        "edge length",
        "bending",
        "closed",
        "time",
        "complete",
    ):
        assert row in printed
    assert str(folder) in printed


def test_the_mesh_is_in_the_units_of_the_input(smoke):
    folder, _ = smoke
    cloud = trimesh.load(ROOT / "data" / "bunny.ply")
    mesh = trimesh.load(folder / "mesh_before.ply", force="mesh")
    assert abs(mesh.bounds - cloud.bounds).max() < 0.25 * cloud.extents.max()


def test_metrics_count_the_polygons(smoke):
    folder, _ = smoke
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    shape = [row for row in rows if "surface/polygons" in row]
    assert len(shape) == 10
    assert all(row["surface/polygons"] > 10 for row in shape)
    assert {"loss/distance", "loss/edge_length", "loss/face_count"} <= shape[-1].keys()


@pytest.mark.thorough
def test_resume_goes_on_with_its_own_settings(smoke, tmp_path):
    folder, _ = smoke
    checkpoint = folder / "checkpoints" / "last.pt"
    printed = train(
        f"resume={checkpoint}",
        f"output={tmp_path}/on",
        "training.shape.steps=12",
        "logging.mode=disabled",
    )
    assert "resuming at step 310" in printed
    resumed = Checkpoint.load(tmp_path / "on" / "checkpoints" / "last.pt")
    assert resumed.step == 312
    assert resumed.config["model"]["width"] == 8


@pytest.mark.slow
def test_resume_can_choose_other_losses(smoke, tmp_path):
    folder, _ = smoke
    train(
        f"resume={folder}/checkpoints/fit.pt",
        f"output={tmp_path}/on",
        "loss=[distance,area]",
        "losses.area.weight=1e-4",
        "training.shape.steps=2",
        "extractor=trace",
        "logging=none",
    )
    config = Checkpoint.load(tmp_path / "on" / "checkpoints" / "last.pt").config
    assert list(config["losses"]) == ["distance", "area"]
    assert config["losses"]["area"]["weight"] == 1e-4
    assert config["extractor"]["_target_"] == "shapeopt.Tracing"
    assert config["model"]["width"] == 8


@pytest.mark.thorough
def test_resume_keeps_its_data(smoke, tmp_path):
    folder, _ = smoke
    last = folder / "checkpoints" / "last.pt"
    printed = train(f"resume={last}", f"output={tmp_path}/on", "data=file", "data.path=x", expect=1)
    assert "a training that is resumed keeps its data" in printed


@pytest.mark.slow
def test_a_sweep_keeps_its_runs_apart(tmp_path):
    """One of them fails; all are in the table; a second time none is trained again."""
    settings = ["training.fit.steps=40", "training.shape.steps=0", f"output={tmp_path}"]
    sweep = ["-m", "experiment=smoke", "model.width=4,0,5", *settings]
    printed = train(*sweep, expect=1)
    folders = sorted(path for path in tmp_path.iterdir() if path.is_dir())
    assert [folder.name for folder in folders] == ["0_width=4", "1_width=0", "2_width=5"]
    assert (tmp_path / "pareto.png").stat().st_size > 0
    assert "1_width=0: failed: the network's width is 0" in printed
    assert (
        f"error: 1 of the runs failed or were stopped; the same command with output={tmp_path}"
        in printed
    )
    assert "Traceback" not in printed
    rows = [line.split() for line in printed.splitlines() if re.match(r"\d_width=\d ", line)]
    assert [row[:2] for row in rows] == [["0_width=4", "4"], ["1_width=0", "0"], ["2_width=5", "5"]]
    again = train(*sweep, expect=1)
    assert again.count("is done already") == 2
    for folder, width in zip((folders[0], folders[2]), (4, 5), strict=True):
        config = OmegaConf.load(folder / "config.yaml")
        assert config.model.width == width
        assert config.logging.group == f"smoke/{tmp_path.name}"
        assert len(list(folder.glob("wandb/offline-run-*"))) == 1
        assert (folder / "report.html").exists()


def test_nothing_is_written_over_another_training(smoke):
    folder, _ = smoke
    files = [folder / "results.json", folder / "mesh_after.ply", folder / "checkpoints" / "last.pt"]
    before = [file.read_bytes() for file in files]
    printed = train("experiment=smoke", "model.width=5", f"output={folder}", expect=1)
    assert f"error: {folder} holds another training (results.json)" in printed
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=smoke", "data.path=nowhere.ply"], "nowhere.ply"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)  # each starts a process
            for case in (
                (["experiment=nonsense"], "smoke"),
                (["experiment=smoke", "model.width=0"], "width is 0"),
                (["experiment=smoke", "device=cuda:99"], "cuda:99"),
                (["experiment=smoke", "device=gpu"], "device=gpu: it can be auto, cpu, cuda"),
                (["experiment=smoke", "surface.bounds=[0.49,0.5]"], "none of the 2,000 points"),
                (["resume=nowhere.pt"], "no checkpoint nowhere.pt"),
                (["experiment=smoke", "no.such.key=1"], "no.such.key"),
            )
        ),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message, tmp_path):
    printed = train(*arguments, f"output={tmp_path}/run", expect=1)
    assert "error:" in printed
    assert message in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.thorough
def test_an_output_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    printed = train("experiment=smoke", f"output={blocked}/run", expect=1)
    assert "error:" in printed
    assert "output=FOLDER" in printed
    assert "Traceback" not in printed
