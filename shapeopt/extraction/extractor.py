"""What an extractor is, and the choice between an algorithm's two implementations."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import nn

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.extraction.condition import Conditioned

Backend = Literal["auto", "plain", "compiled"]
"""``"plain"`` is torch, on any device; ``"compiled"`` is numba, on the CPU; ``"auto"`` is the
compiled one where it runs."""


class Extractor(ABC):
    """An algorithm with its settings, for :func:`shapeopt.extract_surface`."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether a surface that it returns lacks no component."""

    @abstractmethod
    def surface_of(self, network: nn.Module, unit: Conditioned) -> PolyhedralSurface:
        """The zero set, in the box at unit size.

        Args:
            network: that was read; an extractor may keep what it learnt of it.
            unit: its layers, of one output and with graph, and the domain, in 2 or 3 dimensions.

        Raises:
            NoZero: if f has none in the box.
            ExtractionError: if the surface cannot be extracted.
        """


def check_backend(backend: Backend) -> None:
    """Raises InputError for a name that is none."""
    if backend not in ("auto", "plain", "compiled"):
        raise InputError(f"backend is {backend!r}; it can be 'auto', 'plain' or 'compiled'")


def is_compiled(backend: Backend, device: torch.device, *, exists: bool = True) -> bool:
    """Whether the compiled implementation is to run.

    Args:
        backend: as wished.
        device: to run on.
        exists: whether there is a compiled implementation for this dimension.

    Raises:
        InputError: if the compiled one is wished for where there is none.
    """
    if backend == "compiled" and not (exists and device.type == "cpu"):
        where = f"for {device.type}" if device.type != "cpu" else "for this dimension"
        raise InputError(f"backend='compiled' does not exist {where}; leave it at 'auto'")
    return backend != "plain" and exists and device.type == "cpu"
