"""Checkpoints: everything a training needs to go on bit for bit."""

import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        step: steps done.
        network: state dict of the network.
        fitted: state dict of the network at the end of the fit phase; None before that.
        optimizer: state dict of the optimiser.
        config: the resolved configuration, as plain containers.
        center, scale: of the normalisation, ``x_normalised = (x - center) * scale``.
        seconds: training time so far, by phase.
    """

    step: int
    network: dict[str, Tensor]
    fitted: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    config: dict[str, Any]
    center: Tensor
    scale: float
    seconds: dict[str, float]

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        torch.save(state, temporary)
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> "Checkpoint":
        """Reads a checkpoint onto the CPU.

        Raises:
            InputError: if the file is missing, damaged or no checkpoint of shapeopt.
        """
        if not Path(path).is_file():
            raise InputError(f"there is no checkpoint {path}")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            return cls(**state)
        except (RuntimeError, EOFError, TypeError, KeyError, pickle.UnpicklingError) as error:
            raise InputError(f"{path} is damaged or no checkpoint of shapeopt: {error}") from error


@torch.no_grad()
def extract_checkpoint(path: Path) -> tuple[PolyhedralSurface, Checkpoint]:
    """The surface, in normalised units, as the checkpoint's own configuration extracts it."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from shapeopt.training.config import build

    checkpoint = Checkpoint.load(path)
    missing = {"model", "extractor"} - set(checkpoint.config)
    if missing:
        raise InputError(
            f"{path}: the checkpoint's configuration has no {', '.join(sorted(missing))}"
        )
    config = OmegaConf.create(checkpoint.config)
    try:
        network, extract = build(config.model), build(config.extractor)
        network.load_state_dict(checkpoint.network)
    except (HydraException, OmegaConfBaseException, RuntimeError) as error:
        raise InputError(f"{path}: its network cannot be built again: {error}") from error
    return extract(network), checkpoint
