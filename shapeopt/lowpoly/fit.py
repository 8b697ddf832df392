"""Fits a union of convex parts to signed distances, from soft to hard.

This is a loop of its own beside :class:`shapeopt.training.Training`: what changes from step to step
here is the network's sharpness, and the shape phase after it changes the weight of a loss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from shapeopt.lowpoly.regression import regress
from shapeopt.networks.convex_union import ConvexUnion
from shapeopt.training.batches import BatchSource

Progress = Callable[[str, int, int], None]
"""Is told what is being done, the steps done and their number."""


@dataclass(frozen=True)
class FitSettings:
    """How the fit anneals.

    Attributes:
        steps: of Adam.
        learning_rate: largest; a cosine takes it to almost nothing.
        softest, hardest: sharpness at the start, and where max and min become exact. In between it
            grows by the same factor in every step. The softest f hardly knows its parts apart,
            which lets them find their places.
        hard_fraction: of the steps, at the end, with the exact max and min.
        near: distance at which an error counts half, see :func:`regress`; box lengths.
    """

    steps: int = 2500
    learning_rate: float = 1e-2
    softest: float = 30.0
    hardest: float = 3000.0
    hard_fraction: float = 0.25
    near: float = 0.02


def fit(
    network: ConvexUnion,
    batches: BatchSource,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> None:
    """Fits the network to the distances of the batches, and leaves it hard.

    Args:
        network: changed in place; float32, on the CPU.
        batches: of the shape; the step number alone decides a batch.
        settings: the defaults if None.
        progress: called now and then.
    """
    chosen = settings or FitSettings()
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(chosen.steps):
        done = step / chosen.steps
        network.sharpness = sharpness_at(done, chosen)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, chosen.steps, chosen.learning_rate)
        optimizer.zero_grad()
        batch = batches.batch(network, step)
        regress(network, batch.space_points, batch.space_distances, chosen.near)
        optimizer.step()
        if progress and step % 50 == 0:
            progress("fitting", step, chosen.steps)
    network.sharpness = math.inf


def sharpness_at(done: float, settings: FitSettings) -> float:
    """The sharpness after a fraction of the steps."""
    soft = done / (1 - settings.hard_fraction)
    if soft >= 1:
        return math.inf
    return settings.softest * (settings.hardest / settings.softest) ** soft


def learning_rate_at(step: int, steps: int, largest: float, warm_up: int = 50) -> float:
    """A short rise, then half a cosine down to a thousandth."""
    rise = min(1.0, (step + 1) / warm_up)
    return largest * rise * (0.001 + 0.999 * (1 + math.cos(math.pi * step / steps)) / 2)
