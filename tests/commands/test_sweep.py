"""Sweeps: folders' names; runs that failed, are done or were begun; the one that W&B directs."""

import json
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from shapeopt.commands.sweep import labels, run_in_sweep, with_short_folders
from shapeopt.errors import InputError
from shapeopt.training.folder_lock import FolderInUseError

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["model.width=8,16", "seed=3"], "_width=${model.width}"),
        (["seed=range(3)"], "_seed=${seed}"),
        (
            ["losses.area.weight=1e-3,1e-4", "losses.distance.weight=1,2"],
            "_area.weight=${losses.area.weight}_distance.weight=${losses.distance.weight}",
        ),
        (["extractor=trace,subdivide"], "_extractor=${hydra.runtime.choices.extractor}"),
        (["loss=[distance],[distance,area]", "data.path=a/b.ply,c.ply"], ""),
    ],
)
def test_folders_are_named_by_what_differs(arguments, name):
    added = with_short_folders(["-m", *arguments])[-1]
    assert added == "hydra.sweep.subdir='${hydra.job.num}" + name + "'"


def test_other_folders_are_left_alone():
    assert with_short_folders(["seed=3"]) == ["seed=3"]
    own = ["-m", "seed=1,2", "hydra.sweep.subdir=${seed}"]
    assert with_short_folders(own) == own


def test_labels_are_as_short_as_they_can_be():
    assert labels(["a.b.c", "a.d.c", "seed"]) == ["b.c", "d.c", "seed"]


@pytest.fixture
def config():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", ["experiment=smoke", "output=x"])


def leave(folder: Path, config, finished: bool | None) -> None:
    """What a training with this configuration leaves; None: it was killed."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.pt").touch()
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    if finished is not None:
        (folder / "results.json").write_text(json.dumps({"finished": finished}))


def test_what_is_done_is_skipped(config, tmp_path, capsys):
    leave(tmp_path / "run", config, finished=True)
    run_in_sweep(config, tmp_path / "run", None, lambda *_: pytest.fail("it trained again"))
    assert "is done already" in capsys.readouterr().out


@pytest.mark.parametrize("finished", [False, None])
def test_what_was_begun_goes_on(config, tmp_path, finished):
    folder, called = tmp_path / "run", []
    leave(folder, config, finished)
    config.output = "elsewhere"  # does not count
    run_in_sweep(config, folder, Path("fit.pt"), lambda *given: called.append(given[2]))
    assert called == [folder / "checkpoints" / "last.pt"]


def test_another_training_is_left_as_it_is(config, tmp_path, capsys):
    folder = tmp_path / "run"
    leave(folder, config, False)
    (folder / "error.txt").write_text("its own")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    config.seed = 5
    refused = run_in_sweep(config, folder, Path("fit.pt"), lambda *_: pytest.fail("it trained"))
    assert refused == folder
    assert "holds another training (results.json)" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_failed_run_leaves_its_reason(config, tmp_path, capsys):
    def fail(*_):
        raise InputError("no such thing")

    def stumble(*_):
        raise ZeroDivisionError("by zero")

    run_in_sweep(config, tmp_path, None, fail)
    assert (tmp_path / "error.txt").read_text() == "no such thing"
    assert "${" not in (tmp_path / "config.yaml").read_text()  # as that of a run that began
    assert "Traceback" not in capsys.readouterr().err
    run_in_sweep(config, tmp_path, None, stumble)
    assert (tmp_path / "error.txt").read_text() == "ZeroDivisionError: by zero"
    assert "Traceback" in capsys.readouterr().err
    run_in_sweep(config, tmp_path, None, lambda *_: None)
    assert not (tmp_path / "error.txt").exists()


def test_a_run_that_another_process_is_at_is_left_alone(config, tmp_path, capsys):
    def refuse(*_):
        raise FolderInUseError("run is in use")

    assert run_in_sweep(config, tmp_path, None, refuse) == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert "in use" in capsys.readouterr().err


def test_wandbs_sweep_has_settings_that_there_are():
    sweep = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text(encoding="utf-8"))
    assert (CONF.parent / sweep["program"]).exists()
    assert sweep["metric"]["name"] == "final/distance"  # as `RunLog.summarise` names it
    settings = [word for word in sweep["command"] if "=" in word]
    for name, choice in sweep["parameters"].items():
        values = choice.get("values") or [choice["min"], choice["max"]]
        assert all(isinstance(value, int | float) for value in values)
        settings.append(f"{name}={values[-1]}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", settings)
    assert config.logging.mode == "online"
    assert config.model.width == sweep["parameters"]["model.width"]["values"][-1]
