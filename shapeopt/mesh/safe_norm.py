"""Lengths of vectors, differentiable at zero."""

import torch
from jaxtyping import Float
from torch import Tensor


def safe_norm(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Length of each row. A row of zeros has gradient 0 instead of NaN."""
    squared = vectors.square().sum(dim=1)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)
