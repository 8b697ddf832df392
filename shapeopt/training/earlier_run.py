"""What an earlier training left in a folder: nothing is written over it."""

from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from shapeopt.training.folder_lock import FolderInUseError
from shapeopt.training.results import RESULTS_FILE


def is_same(config: DictConfig, folder: Path) -> bool:
    """Whether a training with the same settings has been in the folder."""
    file = folder / "config.yaml"
    if not file.is_file():
        return False
    texts = OmegaConf.to_yaml(config, resolve=True), file.read_text(encoding="utf-8")
    now, then = (yaml.safe_load(text) for text in texts)
    elsewhere = {"output": "", "logging": "", "resume": ""}  # where it writes, and went on from
    return isinstance(then, dict) and now | elsewhere == then | elsewhere


def check_free(config: DictConfig, folder: Path, resume: Path | None) -> None:
    """That the training would write over no other one.

    One that goes on from a checkpoint of the folder may, and so may one with the same settings.

    Raises:
        FolderInUseError: if the folder holds results or checkpoints of another one.
    """
    left = [folder / RESULTS_FILE, *sorted((folder / "checkpoints").glob("*.pt"))]
    left = [file for file in left if file.is_file()]
    goes_on = resume is not None and resume.resolve().is_relative_to(folder.resolve())
    if left and not goes_on and not is_same(config, folder):
        raise FolderInUseError(
            f"{folder} holds another training ({left[0].relative_to(folder)}), which would be "
            "written over; choose another output=FOLDER, or remove this one"
        )
