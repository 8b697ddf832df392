"""What to say of a step that went wrong: which loss it was, and what to do."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def bad_values(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> list[str]:
    """The losses whose value is not finite, each in words.

    Args:
        terms: the unweighted losses, by name.
        weights: of them.
    """
    values = {name: float(term.detach()) for name, term in terms.items()}
    return [
        f"the loss {name} (weight {weights[name]:g}) is {value}"
        for name, value in values.items()
        if not math.isfinite(value)
    ]


def bad_gradients(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], parameters: Sequence[Tensor]
) -> list[str]:
    """The losses whose gradient is not finite, each in words: one backward pass for each.

    Args:
        terms: the unweighted losses, by name, with a graph that has not been used.
        weights: of them.
        parameters: of the network.
    """
    found = []
    for name, term in terms.items():
        if not term.requires_grad:
            continue
        gradients = torch.autograd.grad(
            weights[name] * term.double(), parameters, retain_graph=True, allow_unused=True
        )
        if not all(bool(torch.isfinite(g).all()) for g in gradients if g is not None):
            found.append(
                f"the gradient of the loss {name} (weight {weights[name]:g}, value "
                f"{float(term.detach()):.4g}) is not finite"
            )
    return found


def diverged(
    step: int, found: Sequence[str], weights: Mapping[str, float], learning_rate: float
) -> str:
    """The message for a step whose total is not finite.

    Args:
        step: that failed.
        found: what was found of single losses; nothing if only their sum is not finite.
        weights: of the losses in it.
        learning_rate: of the step.
    """
    causes = "; ".join(found) or f"the sum of the losses {_listed(weights)}, or its gradient"
    return (
        f"not finite in step {step}: {causes}. The training has diverged; the state before this "
        f"step is kept. Try a smaller learning_rate (it was {learning_rate:.3g}), or a smaller "
        "weight of that loss"
    )


def lost_surface(step: int, setbacks: int, reason: str, weights: Mapping[str, float]) -> str:
    """The message for a surface that was lost once too often.

    Args:
        step: in which it was lost.
        setbacks: how often it was lost before.
        reason: why there was no surface, or none that could be measured.
        weights: of the losses on the surface.
    """
    return (
        f"the surface was lost in step {step}, after {setbacks} setbacks that halved the learning "
        f"rate: {reason}. Losses on the surface: {_listed(weights) or 'none'}. Go on from the "
        "finished fit, checkpoints/fit.pt, with smaller weights or a smaller "
        "training.shape.learning_rate"
    )


def _listed(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} (weight {weight:g})" for name, weight in weights.items())
