"""A network's values as affine functions of its inputs and of its own ReLUs.

A network that is run on a :class:`Form` in place of numbers tells how it computes: whatever it does
that is affine is done to the coefficients, and each ReLU adds a *fold group*, numbers of its own
that later values are affine functions of:

    x --> Linear --> relu --> Linear ---> add --> f          h = relu(A x + a)      (group 1)
     \\________________________________/                      f = B h + C x + c

So skips, residuals, concatenation, slices and convolutions need no rules of their own: they are
run, once, on coefficients. Everything that folds (leaky ReLU, absolute values, clamps, maxima,
minima) is written with ReLUs in ``folds.py``. Coefficients keep their graph to the parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._pytree import tree_flatten, tree_unflatten

from shapeopt.errors import InputError

INPUT = 0
"""The number of the group that stands for the network's inputs."""


@dataclass
class Group:
    """ReLUs that are applied at once.

    Attributes:
        values: what they are applied to; of any shape, counted in its order. None for the inputs.
        size: how many.
    """

    values: "Form | None"
    size: int


@dataclass
class Record:
    """A run of a network.

    Attributes:
        apply: what is done when a function of torch is called on forms, with its arguments.
        groups: in the order in which they were computed.
    """

    apply: Callable[[Callable, Sequence, dict], Any]
    groups: list[Group] = field(default_factory=list)

    def inputs(self, dimension: int, like: Tensor) -> "Form":
        """One row of inputs, ``[1, d]``."""
        self.groups.append(Group(None, dimension))
        return self._of_group((1, dimension), like)

    def relu(self, form: "Form") -> "Form":
        """The ReLUs of all of the form's values, as a new group."""
        # A copy: the form itself may be changed in place.
        values = Form(self, form.constant, form.blocks)
        self.groups.append(Group(values, form.constant.numel()))
        return self._of_group(form.constant.shape, form.constant)

    def _of_group(self, shape: Sequence[int], like: Tensor) -> "Form":
        number, size = len(self.groups) - 1, self.groups[-1].size
        unit = torch.eye(size, dtype=like.dtype, device=like.device)
        return Form(self, like.new_zeros(tuple(shape)), {number: unit.view(size, *shape)})


class Form(Tensor):
    """Values that are affine functions of groups; it stands for a tensor when a network is run.

    It is a tensor without numbers: whatever is done to it goes to ``record.apply``.

    Args:
        record: where new groups go.
        constant: of the shape of the values.
        blocks: for each group, the coefficients: one more dimension in front, a row per number.
    """

    record: Record
    constant: Tensor
    blocks: dict[int, Tensor]

    def __new__(cls, record: Record, constant: Tensor, blocks: dict[int, Tensor]) -> "Form":
        """A tensor without storage."""
        form = torch.Tensor._make_wrapper_subclass(
            cls, constant.shape, dtype=constant.dtype, device=constant.device
        )
        form.record, form.constant, form.blocks = record, constant, blocks
        return form

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: object, args: Sequence = (), kwargs: dict | None = None
    ) -> Any:
        """See :func:`shapeopt.networks.operations.apply`."""
        first = forms_in((list(args), kwargs))[0]
        return first.record.apply(function, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Callable, types: object, args: Sequence = (), kwargs: dict | None = None
    ) -> Any:
        """What torch does by itself, past ``record.apply``.

        Raises:
            InputError: always.
        """
        raise InputError(f"{function} asks for numbers, which are not there yet")

    def become(self, other: "Form") -> None:
        """What an operation in place does; the shape stays."""
        self.constant, self.blocks = other.constant, other.blocks


def forms_in(value: object) -> list[Form]:
    """The forms in nested arguments."""
    return [part for part in tree_flatten(value)[0] if isinstance(part, Form)]


def apply_affine(
    function: Callable, args: Sequence, kwargs: dict, without_added: Sequence | None = None
) -> Any:
    """A function that is affine in the forms among its arguments, on their coefficients.

    Affine in all of them at once: a product of two forms is not.

    Args:
        without_added: the arguments with zeros in the place of numbers that are added, if those are
            known: the slopes are the same.
    """
    run, forms = _of_forms(function, args, kwargs)
    at = tuple(form.constant for form in forms)
    constant, results = tree_flatten(run(*at))
    linear, _ = _of_forms(function, without_added or args, kwargs)

    def derivative(*row: Tensor) -> Any:
        # Not a difference of two values: no term is rounded.
        return torch.func.jvp(run, at, row)[1]

    # Affine and 0 at 0 is linear; to ask torch for the derivative takes ten times as long.
    slopes = linear if _is_zero_at_zero(linear, at) else derivative
    blocks: list[dict[int, Tensor]] = [{} for _ in constant]
    for group in sorted({group for form in forms for group in form.blocks}):
        rows = torch.vmap(slopes)(*(_block(form, group) for form in forms))
        for block, part in zip(blocks, tree_flatten(rows)[0], strict=True):
            block[group] = part
    record = forms[0].record
    return tree_unflatten(
        [
            Form(record, value, block) if isinstance(value, Tensor) else value
            for value, block in zip(constant, blocks, strict=True)
        ],
        results,
    )


@torch.no_grad()
def _is_zero_at_zero(function: Callable, at: Sequence[Tensor]) -> bool:
    values = tree_flatten(function(*(torch.zeros_like(value) for value in at)))[0]
    return not any(value.any() for value in values)


def _of_forms(
    function: Callable, args: Sequence, kwargs: dict
) -> tuple[Callable[..., Any], list[Form]]:
    """The function as one of the forms alone, and these."""
    leaves, tree = tree_flatten((tuple(args), kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Form)]

    def run(*values: Tensor) -> Any:
        filled = list(leaves)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        some_args, some_kwargs = tree_unflatten(filled, tree)
        return function(*some_args, **some_kwargs)

    return run, [leaves[i] for i in places]


def apply_linear(form: Form, weight: Tensor, bias: Tensor | None = None) -> Form:
    """``torch.nn.functional.linear``, on all coefficients at once."""
    constant = linear(form.constant, weight, bias)
    blocks = {group: linear(block, weight) for group, block in form.blocks.items()}
    return Form(form.record, constant, blocks)


def _block(form: Form, group: int) -> Float[Tensor, "rows ..."]:
    if group in form.blocks:
        return form.blocks[group]
    size = form.record.groups[group].size
    return form.constant.new_zeros(()).expand(size, *form.constant.shape)
