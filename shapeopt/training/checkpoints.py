"""Checkpoints: everything a training needs to go on bit for bit."""

import io
import zipfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data.normalisation import Normalisation
from shapeopt.errors import InputError
from shapeopt.extraction.extractor import Extractor
from shapeopt.output.files import write_whole
from shapeopt.training.config import build, build_extraction, exporting_extractor
from shapeopt.training.saved_config import load_saved_config


@dataclass(frozen=True)
class State:
    """What a step changes.

    Attributes:
        step: steps done.
        network: state dict of the network.
        optimizer: state dict of the optimiser.
    """

    step: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint(State):
    """A training between two steps.

    Attributes:
        fitted: state dict of the network at the end of the fit phase; None before that.
        config: the resolved configuration, as plain containers.
        normalisation: of the data.
        seconds: training time so far, by phase.
        good: the last state that had a surface, in the shape phase; to go back to.
        setbacks: how often the shape phase went back to such a state.
        history: state dicts of the network after some steps of the shape phase.
        first_polygons: expected polygons of its first surface; None before.
    """

    fitted: dict[str, Tensor] | None
    config: dict[str, Any]
    normalisation: Normalisation
    seconds: dict[str, float]
    good: State | None = None
    setbacks: int = 0
    history: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    first_polygons: float | None = None

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all.

        Raises:
            OSError: if it cannot be written; names it.
        """
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        state |= {"center": self.normalisation.center, "scale": self.normalisation.scale}
        del state["normalisation"]
        state["good"] = None if self.good is None else dict(vars(self.good))
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "Checkpoint":
        """Reads a checkpoint onto the CPU; one of an earlier version under today's names.

        Raises:
            InputError: if the file is missing, damaged or no checkpoint of shapeopt, or if its
                configuration names something that a checkpoint may not name.
            OSError: if the file cannot be read.
        """
        if not Path(path).is_file():
            raise InputError(f"there is no checkpoint {path}")
        data = Path(path).read_bytes()
        try:
            _check_sums(data)
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            normalisation = Normalisation(state.pop("center"), state.pop("scale"))
            good = state.pop("good", None)
            checkpoint = cls(
                **state, normalisation=normalisation, good=None if good is None else State(**good)
            )
            checkpoint._check_types()
        except Exception as error:  # a damaged zip or pickle can fail in any way
            raise InputError(f"{path} is damaged or no checkpoint of shapeopt") from error
        try:
            return replace(checkpoint, config=load_saved_config(checkpoint.config))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _check_types(self) -> None:
        """Raises TypeError or ValueError for what is no state of a training."""
        for state in (self, self.good):
            if state is not None:
                _check_type(state.step, int)
                _check_tensors(state.network)
                _check_type(state.optimizer, dict)
                if state.step < 0:
                    raise ValueError("a negative step")
        if self.fitted is not None:
            _check_tensors(self.fitted)
        _check_type(self.history, dict)
        for step, network in self.history.items():
            _check_type(step, int)
            _check_tensors(network)
        _check_type(self.setbacks, int)
        _check_type(self.first_polygons, (float, NoneType))
        _check_type(self.seconds, dict)
        for value in self.seconds.values():
            _check_type(value, (int, float))
        _check_type(self.normalisation.center, Tensor)
        _check_type(self.normalisation.scale, (int, float))

    def check_is_of(self, network: nn.Module) -> None:
        """That the weights are those of such a network.

        Raises:
            InputError: if they are not; names the first that differs.
        """
        here = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
        there = {name: tuple(weight.shape) for name, weight in self.network.items()}
        for name in here | there:
            if here.get(name) != there.get(name):
                raise InputError(
                    f"the checkpoint is of another network: its {name} is "
                    f"{_sizes(there.get(name))}, and that of this one {_sizes(here.get(name))}"
                )

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


def _sizes(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "missing"
    return " x ".join(map(str, shape)) if shape else "a number"


def _check_sums(data: bytes) -> None:
    """Raises an exception for a file that is not as it was written; torch does not look.

    Its parts lie in it as they are: one that claims to be packed could unpack to any size.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("a part is packed")
        if sum(part.file_size for part in parts) > len(data):
            raise ValueError("the parts are larger than the whole")
        if (part := archive.testzip()) is not None:
            raise ValueError(f"{part} has another sum")


def _check_type(value: Any, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__}, not a {kind}")


def _check_tensors(state: Any) -> None:
    _check_type(state, dict)
    for name, value in state.items():
        _check_type(name, str)
        _check_type(value, Tensor)


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
