"""Other networks made of one: a level set of one output, and the folds between classes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.errors import InputError


class LevelSet(nn.Module):
    """One output of a network minus a number: its zero set is that output's level set.

    Args:
        network: with any number of outputs.
        output: which one, counted from 0; None if there is one only.
        level: the number.
    """

    def __init__(self, network: nn.Module, output: int | None = None, level: float = 0.0):
        super().__init__()
        self.network = network
        self.output = output
        self.level = level

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """The output's values, less the level.

        Raises:
            InputError: if there is no such output.
        """
        values = self.network(x)
        values = values.reshape(values.shape[0], -1)
        if self.output is not None:
            count = values.shape[1]
            if not 0 <= self.output < count:
                raise InputError(f"output is {self.output}; the network has 0 to {count - 1}")
            values = values[:, self.output : self.output + 1]
        return values - self.level if self.level else values


class Classes(nn.Module):
    """A classifier whose complex is cut where two classes tie, as well as by its own folds.

    Its values are those of the network. Besides, it computes the largest one, by a tree of maxima
    of two, whose folds are between classes.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """The scores."""
        scores = self.network(x)
        if scores.ndim != 2 or scores.shape[1] < 2:
            raise InputError("boundaries=True needs a network with at least 2 outputs, the classes")
        return scores + 0 * torch.amax(scores, dim=1, keepdim=True)
