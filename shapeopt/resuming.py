"""The configuration of a training that goes on from a checkpoint."""

from pathlib import Path

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from shapeopt.checkpoints import Checkpoint
from shapeopt.errors import InputError


def resumed_config(path: Path, hydra_config: HydraConf) -> DictConfig:
    """The checkpoint's own configuration, with the values given on the command line.

    So ``python train.py resume=PATH`` goes on as the training was started, and
    ``python train.py resume=PATH training.shape.steps=800`` goes on for longer.

    Args:
        path: of the checkpoint.
        hydra_config: of the job: its overrides, and the names of the config groups.

    Raises:
        InputError: if the command line chooses another config group, which cannot change between
            two steps of one training, or sets a value that the configuration does not have.
    """
    config = OmegaConf.create(Checkpoint.load(path).config)
    OmegaConf.set_struct(config, True)
    groups = set(hydra_config.runtime.choices)
    for override in hydra_config.overrides.task:
        key, _, value = override.lstrip("+").partition("=")
        if key == "resume" or (key == "experiment" and value == config.name):
            continue
        if key in groups:
            raise InputError(
                f"{override}: a training that is resumed keeps its {key}; leave this out, or start "
                "a new training"
            )
        try:
            OmegaConf.update(config, key, OmegaConf.from_dotlist([f"x={value}"]).x)
        except Exception as error:
            raise InputError(f"{override}: {error}") from error
    return config
