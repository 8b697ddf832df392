"""From configuration to objects."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.extraction.extract import extract_surface

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


def build_extraction(config: DictConfig) -> Callable[[nn.Module], PolyhedralSurface]:
    """What takes a network to its exact surface, as ``surface`` and ``extractor`` say.

    Raises:
        InputError: for a dtype that is not in ``DTYPES``.
    """
    name = config.surface.dtype
    if name not in DTYPES:
        raise InputError(f"surface.dtype is {name}; it can be {' or '.join(DTYPES)}")
    bounds = tuple(config.surface.bounds)
    return partial(
        extract_surface, bounds=bounds, extractor=build(config.extractor), dtype=DTYPES[name]
    )
