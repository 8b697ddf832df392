"""What one phase of a training is given: its steps and its learning rate."""

from collections.abc import Callable
from dataclasses import dataclass, field

from shapeopt.errors import InputError
from shapeopt.training.schedules import Cosine


@dataclass(frozen=True)
class Phase:
    """Steps with one learning-rate schedule.

    Attributes:
        steps: optimiser steps.
        learning_rate: largest learning rate of the phase.
        schedule: factor of the learning rate at a progress from 0 to 1.
        log_every: steps between two rows of the log.

    Raises:
        InputError: for a number out of its range.
    """

    steps: int
    learning_rate: float = 1e-3
    schedule: Callable[[float], float] = field(default_factory=Cosine)
    log_every: int = 1

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"a phase has {self.steps} steps; it must have 0 or more")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate is {self.learning_rate}; it must be positive")
        if self.log_every < 1:
            raise InputError(f"log_every is {self.log_every}; it must be at least 1")


FIT = Phase(20_000, 1e-2, log_every=100)
SHAPE = Phase(500, 1e-3)
