"""The training loop, and everything from a configuration to its results."""

from shapeopt.training.loop import Phase, Training
from shapeopt.training.schedules import Cosine, Step

__all__ = ["Cosine", "Phase", "Step", "Training"]
