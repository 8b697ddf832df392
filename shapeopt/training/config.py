"""From configuration to objects."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from shapeopt.complex.box import Box
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.extraction.extract import extract_surface
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.subdivision import Subdivision
from shapeopt.extraction.tracing import Tracing
from shapeopt.networks import EncodedNetwork

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def build(config: DictConfig) -> Any:
    """Builds the object that ``config._target_`` names, or the objects of a dict of such.

    Lists and dicts reach constructors as plain Python containers. An
    :class:`shapeopt.InputError` raised by a constructor comes through as it is.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise


def exporting_extractor(config: DictConfig) -> Extractor:
    """The configured extractor if it misses no component, and else one that does not."""
    extractor = build(config.extractor)
    if isinstance(extractor, Subdivision):
        return extractor
    return Tracing(complete=True) if is_encoded(config) else Subdivision()


def is_encoded(config: DictConfig) -> bool:
    """Whether the model is an encoded network, which subdivision of the box does not know."""
    return str(config.model.get("_target_", "")).endswith(EncodedNetwork.__name__)


def build_extraction(
    config: DictConfig, extractor: Extractor | None = None, dtype: str | None = None
) -> Callable[[nn.Module], PolyhedralSurface]:
    """What takes a network to its exact surface, as ``surface`` and ``extractor`` say.

    Args:
        config: of the experiment.
        extractor: to take in place of the configured one.
        dtype: to take in place of the configured one; a key of ``DTYPES``.

    Raises:
        InputError: for a dtype that is not in ``DTYPES``, bounds that are no box in space, and
            without an extractor or surface.
    """
    for part in ("surface", "extractor"):
        if config.get(part) is None:
            raise InputError(f"the configuration has no {part}")
    name = dtype or config.surface.dtype
    if name not in DTYPES:
        raise InputError(f"surface.dtype is {name}; it can be {' or '.join(DTYPES)}")
    bounds: Any = OmegaConf.to_container(OmegaConf.create({"bounds": config.surface.bounds}))
    Box.from_bounds(bounds["bounds"], 3, DTYPES[name], torch.device("cpu"))
    extractor = extractor or build(config.extractor)
    if isinstance(extractor, Subdivision) and is_encoded(config):
        raise InputError("an encoded model is extracted by tracing: set extractor=trace")
    return partial(
        extract_surface,
        bounds=bounds["bounds"],
        extractor=extractor,
        dtype=DTYPES[name],
    )
