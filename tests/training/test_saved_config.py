"""What a checkpoint may have built; whatever else it names is refused, and nothing is run."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import shapeopt
from shapeopt import InputError
from shapeopt.commands.main import main
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint
from shapeopt.training.saved_config import load_saved_config

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "tests" / "files"
OLD = sorted(FILES.glob("version_*.pt"))
EVIL = {"_target_": "os.system", "_args_": ["touch ran"]}


def saved_config() -> dict[str, Any]:
    return torch.load(FILES / "version_0.1_fit.pt", weights_only=True)["config"]


def placed(place: str, value: Any) -> dict[str, Any]:
    """An old configuration with something put at a place, ``a.b.c``."""
    config = node = copy.deepcopy(saved_config())
    *path, last = place.split(".")
    for key in path:
        node = node[key]
    node[last] = value
    return config


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_checkpoint_is_extracted(path):
    surface, saved = extract_checkpoint(path)
    assert saved.config["model"]["off_fraction"] == 0.2
    assert saved.config["batches"]["uniform_fraction"] == 0.2
    assert surface.num_faces == (118 if saved.step == 300 else 100)
    assert surface.vertices.dtype == torch.float64
    traced = shapeopt.extract_surface(
        saved.rebuilt_network(), extractor=shapeopt.Tracing(), dtype=torch.float64
    )
    assert traced.num_faces == surface.num_faces


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [OLD[0], *(pytest.param(path, marks=pytest.mark.slow) for path in OLD[1:])],
    ids=lambda path: path.stem,
)
def test_an_old_checkpoint_goes_on(path, tmp_path):
    steps = Checkpoint.load(path).step + 10
    command = [
        sys.executable,
        "-m",
        "shapeopt",
        "train",
        f"resume={path}",
        "evaluation_samples=500",
    ]
    settings = [f"training.shape.steps={steps - 300}", f"output={tmp_path}/on"]
    done = subprocess.run(
        [*command, *settings], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    resumed = Checkpoint.load(tmp_path / "on" / "checkpoints" / "last.pt")
    assert resumed.step == steps
    targets = resumed.config["extractor"]["_target_"], resumed.config["schedule"]["_target_"]
    kind = "Tracing" if "trace" in path.stem else "Subdivision"
    assert targets == (f"shapeopt.{kind}", "shapeopt.training.Cosine")


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "builtins.eval",
        "hydra.utils.get_object",
        "os.system",
        "shapeopt.output.RunLog",
        "shapeopt.losses.Distance",
        "shapeopt.losses.os.system",
        "shapeopt.losses.base.math.sqrt",
        ["os.system"],
        {"_target_": "os.system"},
        None,
        7,
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "place", ["model", "extractor", "data", "logging", "training.fit", "training.shape.schedule"]
)
def test_each_place_takes_its_own_kind_alone(place, target):
    with pytest.raises(InputError, match=rf"the {place} in the checkpoint (names|may choose)"):
        load_saved_config(placed(place, {"_target_": target}))


@pytest.mark.parametrize("value", [EVIL, [EVIL], ({"x": EVIL},), {"x": [[EVIL]]}], ids=str)
@pytest.mark.parametrize(
    "place",
    ["name", "surface", "model.width", "model._args_", "losses.distance.near", "losses.evil.deep",
     "extractor.progress", "training.fit.schedule.warmup", "batches.near_std", "logging.config"],
)  # fmt: skip
def test_nothing_else_is_built_anywhere(place, value):
    config = placed(place.replace("evil.deep", "evil"), value)
    with pytest.raises(InputError, match=r"in the checkpoint (names|has|may)"):
        load_saved_config(config)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("name", "${oc.env:HOME}", "would be looked up"),
        ("data.path", "x${oc.env:HOME}", "would be looked up"),
        ("batches", {"${oc.env:HOME}": 1}, "would be looked up"),
        ("model._target_", "${oc.env:HOME}", "would be looked up"),
        ("model._recursive_", False, "has _recursive_"),
        ("model._partial_", True, "has _partial_"),
        ("losses.distance._convert_", "all", "has _convert_"),
        ("losses.distance._args_", [1.0], "has _args_"),
        ("logging._partial_", False, "may choose project"),
        ("logging.output_dir", "elsewhere", "may choose project"),
        ("losses.distance", {"_target_": "shapeopt.losses.Batch"}, "names shapeopt.losses.Batch"),
        ("model.width", torch.ones(1), "holds a Tensor"),
        ("model.width", {3: 4}, "holds a int"),
    ],
)
def test_nothing_is_looked_up_or_built_otherwise(place, value, message):
    with pytest.raises(InputError, match=message):
        load_saved_config(placed(place, value))


@pytest.mark.parametrize("config", [None, [], "text", ({"_target_": "os.system"},)])
def test_a_configuration_is_a_dictionary(config):
    with pytest.raises(InputError, match="no dictionary"):
        load_saved_config(config)


def test_what_is_saved_today_is_taken_as_it_is():
    config = load_saved_config(saved_config())
    assert load_saved_config(config) == config


def evil_checkpoint(folder: Path, nested: Any) -> Path:
    state = torch.load(FILES / "version_0.1_fit.pt", weights_only=True)
    state["config"]["model"]["width"] = nested
    torch.save(state, folder / "evil.pt")
    return folder / "evil.pt"


@pytest.mark.thorough
def test_a_training_does_not_run_it(tmp_path):
    path = evil_checkpoint(tmp_path, ({"x": EVIL},))
    command = [sys.executable, ROOT / "train.py", f"resume={path}", "output=run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the model.width.0.x in the checkpoint names os.system" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("nested", [EVIL, [EVIL], ({"x": EVIL},)], ids=str)
@pytest.mark.parametrize("command", ["evaluate", "extract", "simplify"])
def test_no_command_runs_it(command, nested, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = evil_checkpoint(tmp_path, nested)
    arguments = {
        "evaluate": [str(path), "data/bunny.ply"],
        "extract": [str(path), "-o", "out.ply"],
        "simplify": [str(path), "-o", "out.ply"],
    }
    with pytest.raises(SystemExit, match=r"error: .*may not run other code"):
        main([command, *arguments[command]])
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.rglob("*.ply"))
