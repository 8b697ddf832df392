"""How many threads a training computes with."""

from typing import Literal

import torch

from shapeopt.errors import InputError

ENOUGH_WORK = 1_000_000
"""Multiplications in one pass of a batch below which a second thread costs more than it does."""


def choose_threads(wanted: int | Literal["auto"], weights: int, batch_size: int) -> int:
    """The number of threads; "auto" is 1 for a small network, else what PyTorch would take.

    It depends on sizes alone, never on a measurement: the last digits of a sum can depend on how
    many threads share it, so a training would else not repeat itself.

    Args:
        wanted: a number, or "auto".
        weights: of the network.
        batch_size: points that go through it together.

    Raises:
        InputError: for a number below 1, or another word.
    """
    if wanted == "auto":
        return 1 if weights * batch_size < ENOUGH_WORK else torch.get_num_threads()
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise InputError(f"threads is {wanted}; it must be auto, or a whole number from 1 on")
    return wanted
