"""The affine view of a module: what the extractors see of a network."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.weight_norm import WeightNorm

from shapeopt.errors import InputError

READ = (nn.Sequential, nn.Linear, nn.ReLU, nn.Identity, nn.Dropout)
"""The modules that can be read."""

POINTS = 32
"""Points at which a network is compared with what was read of it."""

SLACK_ULPS = 1e4
"""Two ways to sum the same terms differ by less than this many ulps of their size."""


class AffineLayer(NamedTuple):
    """One affine map ``y = x @ weight.T + bias``; a ReLU follows every layer but the last."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, "out"]


def affine_layers(network: nn.Module) -> list[AffineLayer]:
    """The network as affine layers with a ReLU between each two, none after the last.

    Accepts ``nn.Linear``, ``nn.ReLU``, ``nn.Identity``, ``nn.Dropout`` in eval mode and
    ``nn.Sequential`` of them, nested as you like; a module may be used more than once. Two
    ``nn.Linear`` in a row are multiplied out. Weights that torch makes anew in each forward pass
    (weight norm of either kind, pruning) are made anew here. The tensors keep their graph: they
    are the parameters themselves, or made of them.

    Raises:
        InputError: for any other module, or one whose forward pass was changed by a subclass or a
            hook; for a ReLU at the start or the end; and for weights that are NaN or infinite.
    """
    layers: list[AffineLayer] = []
    after_relu = True
    for name, module in _leaves(network):
        if isinstance(module, nn.Linear):
            layer = AffineLayer(module.weight, _bias_of(module))
            if not after_relu:
                layer = _compose(layers.pop(), layer)
            layers.append(layer)
            after_relu = False
        elif isinstance(module, nn.ReLU):
            if not layers:
                raise InputError("the network starts with a ReLU; it must start with nn.Linear")
            after_relu = True
        elif isinstance(module, nn.Identity):
            continue
        elif isinstance(module, nn.Dropout):
            if module.training:
                raise InputError(f"dropout {name!r} is active; call network.eval() first")
        else:
            raise InputError(
                f"layer {name!r} is {type(module).__name__}, which is not known to be piecewise "
                "affine; the exact surface exists for nn.Sequential of nn.Linear and nn.ReLU"
            )
    if not layers or after_relu:
        raise InputError("the network must end with nn.Linear, without an activation after it")
    _check_finite(layers)
    return layers


@torch.no_grad()
def check_reading(
    network: nn.Module, layers: Sequence[AffineLayer], lower: Tensor, upper: Tensor
) -> None:
    """Runs the network at a few points and compares it with what was read of it.

    Args:
        network: in the dtype and on the device of its weights.
        layers: what :func:`affine_layers` read.
        lower, upper: corners of the box that the points are drawn from, ``[d]``.

    Raises:
        InputError: if the two differ by more than rounding.
    """
    weight = layers[0].weight
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(POINTS, weight.shape[1], generator=generator, dtype=torch.float64)
    points = torch.lerp(lower.double().cpu(), upper.double().cpu(), place).to(weight)
    read, size = points, points.abs().amax()
    for index, layer in enumerate(layers):
        read = read.relu() if index else read
        # The largest sum of absolute terms: what rounding is relative to.
        terms = read.abs() @ layer.weight.abs().T + layer.bias.abs()
        size = torch.maximum(size, terms.amax())
        read = torch.addmm(layer.bias, read, layer.weight.T)
    try:
        run = network(points)
    except Exception as error:
        raise InputError(
            f"the network cannot be run on points of shape {list(points.shape)}: {error}"
        ) from error
    if run.shape != read.shape:
        raise InputError(
            f"the network gives {list(run.shape)} for points of shape {list(points.shape)}, and "
            f"not {list(read.shape)} as its layers say; give it a final nn.Linear, and no reshaping"
        )
    difference = (run - read).abs().amax()
    if not bool(difference <= SLACK_ULPS * torch.finfo(weight.dtype).eps * size):
        raise InputError(
            f"the network that runs is not the one its layers make: they differ by up to "
            f"{float(difference):.3g} at points of the box. Something other than its modules takes "
            "part in its forward pass (a hook, a patched method, or weights computed elsewhere); "
            "give a plain nn.Sequential of nn.Linear and nn.ReLU with its values"
        )


def without_graph(layers: Sequence[AffineLayer]) -> list[AffineLayer]:
    """The same layers as constants."""
    return [AffineLayer(layer.weight.detach(), layer.bias.detach()) for layer in layers]


def as_module(layers: Sequence[AffineLayer]) -> nn.Sequential:
    """Affine layers as ``nn.Linear`` with an ``nn.ReLU`` between each two; their values copied."""
    modules: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        linear.weight.data, linear.bias.data = weight.detach().clone(), bias.detach().clone()
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _leaves(module: nn.Module, name: str = "") -> list[tuple[str, nn.Module]]:
    """The modules of nested ``nn.Sequential`` in the order they run, with their weights fresh."""
    _check_unchanged(module, name or type(module).__name__)
    if not isinstance(module, nn.Sequential):
        return [(name or type(module).__name__, module)]
    # Not named_children(), which leaves out a module that comes a second time.
    return [
        leaf
        for child_name, child in module._modules.items()
        if child is not None
        for leaf in _leaves(child, f"{name}.{child_name}" if name else child_name)
    ]


def _check_unchanged(module: nn.Module, name: str) -> None:
    """Refuses a module that runs otherwise than its class; makes hooked weights anew."""
    for kind in READ:
        if isinstance(module, kind) and type(module).forward is not kind.forward:
            raise InputError(
                f"layer {name!r} is a {type(module).__name__} with a forward of its own; use "
                f"{kind.__name__} itself, so that what is extracted is what runs"
            )
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    for hook in hooks:
        if isinstance(hook, WeightNorm | BasePruningMethod):
            hook(module, None)
        else:
            kind_of_hook = getattr(hook, "__name__", type(hook).__name__)
            raise InputError(
                f"layer {name!r} has a forward hook ({kind_of_hook}), which may change what it "
                "computes; remove it, or bake what it does into the weights"
            )


def _bias_of(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


def _compose(first: AffineLayer, second: AffineLayer) -> AffineLayer:
    return AffineLayer(second.weight @ first.weight, second.weight @ first.bias + second.bias)


def _check_finite(layers: list[AffineLayer]) -> None:
    for index, layer in enumerate(layers):
        bad = sum(int((~torch.isfinite(part)).sum()) for part in layer)
        if bad:
            raise InputError(
                f"affine layer {index} has {bad} weights that are NaN or infinite; "
                "training has diverged (try a smaller learning rate) or the file is damaged"
            )
