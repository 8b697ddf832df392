"""Learning-rate schedules: the factor of the learning rate at a given progress of a phase."""

import math
from dataclasses import dataclass

from shapeopt.errors import InputError


@dataclass(frozen=True)
class Cosine:
    """A linear rise to 1, then half a cosine down.

    Attributes:
        warmup: fraction of the phase spent rising.
        final: factor at the end of the phase.
    """

    warmup: float = 0.1
    final: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1 or not 0 <= self.final <= 1:
            raise InputError(
                f"Cosine schedule: warmup {self.warmup} must lie in [0, 1) and final {self.final} "
                "in [0, 1]"
            )

    def __call__(self, progress: float) -> float:
        """The factor at a progress from 0 (first step) to 1 (end of the phase)."""
        if progress < self.warmup:
            return self.final + (1 - self.final) * progress / self.warmup
        fall = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * fall)) / 2


@dataclass(frozen=True)
class Step:
    """A constant that drops by a factor at equal intervals.

    Attributes:
        drops: how often it drops in the phase.
        factor: of each drop.
    """

    drops: int = 3
    factor: float = 0.3

    def __post_init__(self) -> None:
        if self.drops < 0 or not 0 < self.factor <= 1:
            raise InputError(
                f"Step schedule: drops {self.drops} must not be negative and factor {self.factor} "
                "must lie in (0, 1]"
            )

    def __call__(self, progress: float) -> float:
        """The factor at a progress from 0 (first step) to 1 (end of the phase)."""
        return self.factor ** min(int(progress * (self.drops + 1)), self.drops)
