"""The configuration of a training that goes on from a checkpoint."""

from collections.abc import Collection
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from shapeopt.errors import InputError
from shapeopt.training.checkpoints import Checkpoint


def resumed_config(
    path: Path, composed: DictConfig, overrides: Collection[str], groups: Collection[str]
) -> DictConfig:
    """The checkpoint's own configuration, with what is given on the command line.

    So ``python train.py resume=PATH`` goes on as the training was started, and
    ``python train.py resume=PATH training.shape.steps=800`` goes on for longer. Losses may be
    chosen anew with ``loss=[...]`` (one that the training had keeps its settings), and so may the
    extractor and the logging.

    Args:
        path: of the checkpoint.
        composed: the configuration of a new training with this command line.
        overrides: the command line.
        groups: names of the config groups, such as "model".

    Raises:
        InputError: if the command line chooses another config group, which cannot change between
            two steps of one training, or sets a value that the configuration does not have.
    """
    config = OmegaConf.create(Checkpoint.load(path).config)
    values = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key == "loss":
            losses = composed.losses.items()
            config.losses = {name: config.losses.get(name, loss) for name, loss in losses}
        elif key in ("extractor", "logging"):
            config[key] = composed[key]
        elif key in groups and f"{key}={value}" != f"experiment={config.name}":
            raise InputError(
                f"{override}: a training that is resumed keeps its {key}; leave this out, or start "
                "a new training"
            )
        elif key not in ("resume", "experiment"):
            values.append((key, value, override))
    OmegaConf.set_struct(config, True)
    for key, value, override in values:
        try:
            OmegaConf.update(config, key, OmegaConf.from_dotlist([f"x={value}"]).x)
        except Exception as error:
            raise InputError(f"{override}: {error}") from error
    return config
