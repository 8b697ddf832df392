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
    """A form with monotone functions around it, each of which a number may be added to.

    Attributes:
        steps: from the inside outwards, the names of the functions and what is added.
    """

    steps: tuple[tuple[str, float], ...]

    @staticmethod
    def of(name: str, form: Form) -> "Outer":
        """The form inside the function of that name."""
        before = form.steps if isinstance(form, Outer) else ()
        return _outer(form, (*before, (name, 0.0)))

    def level(self) -> float:
        """What the form inside is where the value is 0.

        Raises:
            InputError: if it never is.
        """
        value = 0.0
        for name, shift in reversed(self.steps):
            value -= shift
            low, high = OUTER[name].range
            if not low < value < high:
                raise InputError(
                    f"the network ends with {name}, whose values lie between {low:g} and {high:g}: "
                    f"it is never {value:g}; give a level= between them"
                )
            value = OUTER[name].inverse(value)
        return value

    def outside(self, inside: Tensor) -> Tensor:
        """The value from that of the form inside."""
        for name, shift in self.steps:
            inside = OUTER[name].function(inside) + shift
        return inside

    def with_form(self, form: Form, shift: float = 0.0) -> "Outer":
        """The same functions around another form, and a number added."""
        *before, (name, added) = self.steps
        steps = (*before, (name, added + shift))
        return _outer(form, steps)


def _outer(form: Form, steps: tuple[tuple[str, float], ...]) -> Outer:
    outer = Outer(form.record, form.constant, form.blocks)
    outer.steps = steps
    return outer
