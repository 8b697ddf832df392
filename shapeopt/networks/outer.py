"""Monotone activations at the very end of a network: its level sets are those of what is inside."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.networks.forms import Form


class Monotone(NamedTuple):
    """An increasing function and its inverse on its range."""

    function: Callable[[Tensor], Tensor]
    inverse: Callable[[float], float]
    range: tuple[float, float]


OUTER: dict[str, Monotone] = {
    "tanh": Monotone(torch.tanh, math.atanh, (-1.0, 1.0)),
    "sigmoid": Monotone(torch.sigmoid, lambda y: math.log(y / (1 - y)), (0.0, 1.0)),
}


class Outer(Form):
    """A form with a monotone function around it; a number may be added to it."""

    activation: str
    shift: float

    @staticmethod
    def of(name: str, form: Form) -> "Outer":
        """The form inside the function of that name."""
        outer = Outer(form.record, form.constant, form.blocks)
        outer.activation, outer.shift = name, 0.0
        return outer

    def level(self) -> float:
        """What the form inside is where the value is 0.

        Raises:
            InputError: if it never is.
        """
        monotone, value = OUTER[self.activation], 0.0 - self.shift
        low, high = monotone.range
        if not low < value < high:
            raise InputError(
                f"the network ends with {self.activation}, whose values lie between {low:g} and "
                f"{high:g}: it is never {value:g}; give a level= between them"
            )
        return monotone.inverse(value)

    def outside(self, inside: Tensor) -> Tensor:
        """The value, from that of the form inside less its level."""
        return OUTER[self.activation].function(inside + self.level()) + self.shift

    def with_form(self, form: Form, shift: float = 0.0) -> "Outer":
        """The same function around another form."""
        outer = Outer.of(self.activation, form)
        outer.shift = self.shift + shift
        return outer
