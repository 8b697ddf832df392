"""A network from a file: a checkpoint of a training, or what another program wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from shapeopt.complex.box import Bounds
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data.formats.readers import KNOWN
from shapeopt.data.normalisation import Normalisation
from shapeopt.errors import InputError
from shapeopt.extraction.extract import extract_surface
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.subdivision import Subdivision
from shapeopt.networks import load_network
from shapeopt.networks.loading import is_script
from shapeopt.networks.views import LevelSet
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.config import DTYPES, build_extraction, exporting_extractor

NETWORKS = (".onnx", ".npz", ".safetensors")
"""Suffixes of files that are no checkpoints."""


@dataclass(frozen=True)
class Source:
    """A network whose zero set is a surface, and how that is extracted.

    Attributes:
        network: with one output.
        bounds: of the box.
        dtype: to compute with; the network's if None.
        extractor: that makes the surface.
        normalisation: from the units of the training's input to the box.
        checkpoint: that it comes from; None for a network of another program.
    """

    network: nn.Module
    bounds: Bounds
    dtype: torch.dtype | None
    extractor: Extractor
    normalisation: Normalisation
    checkpoint: Checkpoint | None = None

    @property
    def unit(self) -> float:
        """Length of one unit of the box in those of the input."""
        return 1 / self.normalisation.scale

    @torch.no_grad()
    def surface(self) -> PolyhedralSurface:
        """The exact surface in the box, without gradient.

        Raises:
            InputError: as :func:`shapeopt.extract_surface`.
            ExtractionError: if it cannot be extracted.
        """
        return extract_surface(
            self.network, self.bounds, extractor=self.extractor, dtype=self.dtype
        )


def open_source(
    path: Path, extractor: Extractor | None = None, dtype: str | None = None, **of_network: Any
) -> Source:
    """Reads a checkpoint, or a network of :func:`shapeopt.load_network`.

    Args:
        path: of the file.
        extractor: None: subdivision, as the checkpoint's own configuration has it if it does.
        dtype: to compute with, "float32" or "float64"; None as in the training or the network.
        of_network: settings that only a network has, see :func:`_of_network`; None if not given.

    Raises:
        InputError: for a wrong file or setting.
    """
    given = {name: value for name, value in of_network.items() if value is not None}
    if given or path.suffix.lower() in NETWORKS or is_script(path):
        return _of_network(path, extractor or Subdivision(), dtype, **given)
    if path.suffix.lower() in KNOWN:
        raise InputError(f"{path} is a mesh or a cloud; a network or a checkpoint is needed here")
    return _of_checkpoint(path, extractor, dtype)


def _of_checkpoint(path: Path, extractor: Extractor | None, dtype: str | None) -> Source:
    saved = Checkpoint.load(path)
    config = OmegaConf.create(saved.config)
    try:
        network = saved.rebuilt_network()
        extractor = extractor or exporting_extractor(config)
        build_extraction(config, extractor, dtype)  # checks what is taken from it here
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    bounds: Any = OmegaConf.to_container(config.surface)["bounds"]  # type: ignore[index,call-overload]
    kind = DTYPES[dtype or config.surface.dtype]
    return Source(network, bounds, kind, extractor, saved.normalisation, saved)


def _of_network(
    path: Path,
    extractor: Extractor,
    dtype: str | None,
    bounds: list[float] | None = None,
    level: float = 0.0,
    index: int | None = None,
    architecture: str | None = None,
) -> Source:
    """A network from another program.

    Args:
        path: of the network.
        extractor: that makes the surface.
        dtype: to compute with; the network's if None.
        bounds: of the box: two numbers for all axes, or the lower corner and the upper one;
            -0.5 and 0.5 if None.
        level: the surface is where the network has this value.
        index: of the output, if there are several.
        architecture: of a network that is given by its weights alone.
    """
    view = LevelSet(load_network(path, architecture=architecture), index, level)
    kind = DTYPES[dtype] if dtype else None
    return Source(view, _corners(bounds), kind, extractor, Normalisation.identity())


def _corners(bounds: list[float] | None) -> Bounds:
    bounds = bounds or [-0.5, 0.5]
    if len(bounds) not in (2, 6):
        raise InputError(
            f"--bounds has {len(bounds)} numbers; give the lower and the upper one, or the three "
            "of the lower corner and then those of the upper one"
        )
    half = len(bounds) // 2
    return bounds if half == 1 else (bounds[:half], bounds[half:])
