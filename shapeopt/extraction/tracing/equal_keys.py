"""Cells that are one cell: those of equal key."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor


class Distinct(NamedTuple):
    """The distinct ones among keys, in order.

    Attributes:
        keys: each once, sorted.
        first: where each comes first.
        second: where it comes next; ``first`` if it does not.
        counts: how often it comes.
        rank: of every key given, its place among the distinct ones.
    """

    keys: Int64[Tensor, "k"]
    first: Int64[Tensor, "k"]
    second: Int64[Tensor, "k"]
    counts: Int64[Tensor, "k"]
    rank: Int64[Tensor, "n"]


def distinct(keys: Int64[Tensor, "n"]) -> Distinct:
    """In plain torch, by sorting: the oracle of ``equal_keys_compiled.py``."""
    ordered, order = torch.sort(keys, stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
    start = torch.nonzero(is_first).flatten()
    counts = torch.nn.functional.pad(start, (0, 1), value=len(keys)).diff()
    rank = torch.empty_like(order)
    rank[order] = is_first.cumsum(0) - 1
    second = order[start + (counts > 1)]
    return Distinct(ordered[start], order[start], second, counts, rank)
