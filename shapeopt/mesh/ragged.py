"""Lists of different lengths in one array: list i is ``values[offsets[i]:offsets[i + 1]]``."""

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor


def offsets_of(sizes: Int[Tensor, "n"]) -> Int64[Tensor, "n_plus_1"]:
    """Where each list starts, and where the last one ends."""
    return torch.nn.functional.pad(sizes.cumsum(0), (1, 0))


def owners_of(offsets: Int64[Tensor, "n_plus_1"], total: int | None = None) -> Int64[Tensor, "m"]:
    """The list that each value belongs to; with the ``total`` of values a GPU is not waited for."""
    lists = torch.arange(len(offsets) - 1, device=offsets.device)
    return lists.repeat_interleave(offsets.diff(), output_size=total)


def positions_of(
    offsets: Int64[Tensor, "n_plus_1"], chosen: Int64[Tensor, "c"], total: int | None = None
) -> tuple[Int64[Tensor, "c_plus_1"], Int64[Tensor, "k"]]:
    """Offsets of the chosen lists by themselves, and the places of their ``total`` values."""
    sizes = offsets.diff()[chosen]
    kept = offsets_of(sizes)
    shift = (offsets[chosen] - kept[:-1]).repeat_interleave(sizes, output_size=total)
    return kept, torch.arange(len(shift), device=shift.device) + shift


def places_of(mask: Bool[Tensor, "n"], count: int) -> Int64[Tensor, "count"]:
    """Where a mask is set, given how often: a GPU is not waited for."""
    if mask.device.type == "cpu":
        return torch.nonzero(mask).flatten()
    return torch.sort(mask, descending=True, stable=True).indices[:count]
