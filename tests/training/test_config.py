"""Every experiment and every choice of a group composes, and what it names can be built."""

import inspect
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from shapeopt.training.batches import BatchSource
from shapeopt.training.config import build
from shapeopt.training.loop import FIT, SHAPE, Training

CONF = Path(__file__).resolve().parents[2] / "conf"


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_experiment_composes(experiment):
    config = composed(f"experiment={experiment}", "output=here")
    assert config.name == experiment
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for part in ("model", "losses", "extractor", "schedule"):
        build(config[part])


@pytest.mark.parametrize("group", ["data", "model", "extractor", "schedule", "logging"])
def test_every_choice_of_a_group_composes(group):
    for name in names(group):
        config = composed(f"{group}={name}", "output=here")
        assert "_target_" in config[group]


def test_all_losses_together():
    losses = build(composed(f"loss=[{','.join(names('loss'))}]").losses)
    assert sorted(losses) == names("loss")


def test_a_loss_is_reweighted_from_the_command_line():
    config = composed("losses.edge_length.weight=0.5", "losses.edge_length.power=2")
    loss = build(config.losses)["edge_length"]
    assert (loss.weight, loss.power) == (0.5, 2)


def test_python_has_the_defaults_of_the_configuration():
    config = composed("output=here")
    phases = {name: build(config.training[name]) for name in ("fit", "shape")}
    assert phases == {"fit": FIT, "shape": SHAPE}
    for cls, settings in ((BatchSource, config.batches), (Training, config.training)):
        parameters = inspect.signature(cls.__init__).parameters
        for name, value in OmegaConf.to_container(settings, resolve=True).items():
            if name not in phases:
                default = parameters[name].default
                assert (list(default) if isinstance(value, list) else default) == value, name
