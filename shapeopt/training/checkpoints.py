"""Checkpoints: everything a training needs to go on bit for bit."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data.normalisation import Normalisation
from shapeopt.errors import InputError
from shapeopt.extraction.extractor import Extractor
from shapeopt.training.config import build, build_extraction, exporting_extractor
from shapeopt.training.saved_config import load_saved_config


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        step: steps done.
        network: state dict of the network.
        fitted: state dict of the network at the end of the fit phase; None before that.
        optimizer: state dict of the optimiser.
        config: the resolved configuration, as plain containers.
        normalisation: of the data.
        seconds: training time so far, by phase.
    """

    step: int
    network: dict[str, Tensor]
    fitted: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    config: dict[str, Any]
    normalisation: Normalisation
    seconds: dict[str, float]

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        state |= {"center": self.normalisation.center, "scale": self.normalisation.scale}
        del state["normalisation"]
        torch.save(state, temporary)
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> "Checkpoint":
        """Reads a checkpoint onto the CPU; one of an earlier version under today's names.

        Raises:
            InputError: if the file is missing, damaged or no checkpoint of shapeopt, or if its
                configuration names something that a checkpoint may not name.
        """
        if not Path(path).is_file():
            raise InputError(f"there is no checkpoint {path}")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            normalisation = Normalisation(state.pop("center"), state.pop("scale"))
            checkpoint = cls(**state, normalisation=normalisation)
        except Exception as error:  # a damaged zip or pickle can fail in any way
            raise InputError(f"{path} is damaged or no checkpoint of shapeopt") from error
        return replace(checkpoint, config=load_saved_config(checkpoint.config))

    def rebuilt_network(self) -> nn.Module:
        """The network with its weights, on the CPU.

        Raises:
            InputError: if it cannot be built again from the configuration.
        """
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        if "model" not in self.config:
            raise InputError("the checkpoint's configuration has no model")
        try:
            network: nn.Module = build(OmegaConf.create(self.config["model"]))
            network.load_state_dict(self.network)
        except (HydraException, OmegaConfBaseException, RuntimeError) as error:
            raise InputError(f"its network cannot be built again: {error}") from error
        return network


@torch.no_grad()
def extract_checkpoint(
    path: Path, extractor: Extractor | None = None, dtype: str | None = None
) -> tuple[PolyhedralSurface, Checkpoint]:
    """The exact surface of a checkpoint, in normalised units.

    Args:
        path: of the checkpoint.
        extractor: None: subdivision, which misses nothing, as the checkpoint's own configuration
            has it if it does.
        dtype: to compute with, "float32" or "float64"; None: as there.

    Raises:
        InputError: as :meth:`Checkpoint.load`, and if its network cannot be built again.
        ExtractionError: if its surface cannot be extracted.
    """
    from omegaconf import OmegaConf

    checkpoint = Checkpoint.load(path)
    try:
        network = checkpoint.rebuilt_network()
        config = OmegaConf.create(checkpoint.config)
        extract = build_extraction(config, extractor or exporting_extractor(config), dtype)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return extract(network), checkpoint
