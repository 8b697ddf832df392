"""The smooth activations in a network: which they are, what they see, and their exchange."""

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.errors import InputError
from shapeopt.networks.activations import Sine

SMOOTH: tuple[type[nn.Module], ...] = (
    Sine,
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.LogSigmoid,
    nn.Mish,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
)

MOST_SEEN = 2**14
"""Numbers that are kept of each run of an activation, beside the smallest and the largest."""


@torch.no_grad()
def smooth_modules(
    network: nn.Module, points: Float[Tensor, "n d"], also: tuple[type[nn.Module], ...]
) -> dict[nn.Module, Float[Tensor, "k"]]:
    """The smooth activations that run, with numbers that they are applied to, float64, on the CPU.

    One whose result is the network's is left out: a last tanh or sigmoid moves no surface.

    Args:
        network: takes the points.
        points: of the box.
        also: further classes of elementwise activations.

    Raises:
        InputError: if there is none.
    """
    seen: dict[nn.Module, list[Tensor]] = {}
    results: dict[nn.Module, Tensor] = {}

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        values = _for_all_points(inputs[0]).flatten()
        some = values[:: max(len(values) // MOST_SEEN, 1)]
        seen.setdefault(module, []).append(
            torch.cat([some, *map(torch.atleast_1d, values.aminmax())])
        )
        results[module] = _for_all_points(result)

    modules = [m for m in network.modules() if isinstance(m, (*SMOOTH, *also))]
    handles = [module.register_forward_hook(watch) for module in modules]
    try:
        output = network(points)
    finally:
        for handle in handles:
            handle.remove()
    for module in list(seen):
        is_last = torch.equal(results[module].flatten(), output.flatten())
        if is_last and isinstance(module, nn.Tanh | nn.Sigmoid):
            del seen[module]
    if not seen:
        raise InputError(
            "the network holds no smooth activation that is a module, such as nn.Softplus. If it "
            "calls functions (F.softplus, torch.sin), make each an nn.Module in __init__; classes "
            "of your own go in also=(YourActivation,)"
        )
    return {module: torch.cat(parts).double().cpu() for module, parts in seen.items()}


def _for_all_points(value: Tensor) -> Tensor:
    """The values under vmap, which an ONNX graph is run with."""
    while torch._C._functorch.is_batchedtensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    return value


def exchanged(network: nn.Module, by: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """A copy of the network with modules exchanged, wherever they occur.

    Raises:
        InputError: if the network cannot be copied.
    """
    # The memo tells deepcopy what to take as the copy of a module.
    memo = {id(old): new for old, new in by.items()}
    try:
        return copy.deepcopy(network, memo)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise InputError(
            f"the network cannot be copied ({error}); the old weight_norm and spectral_norm are to "
            "be taken out first, by torch.nn.utils.remove_weight_norm"
        ) from error
