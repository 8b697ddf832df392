"""Lengths, directions and quotients, differentiable at zero and right at any scale."""

import torch
from jaxtyping import Float
from torch import Tensor


def safe_norm(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Length of each row. A row of zeros has gradient 0 instead of NaN."""
    return torch.linalg.vector_norm(vectors, dim=1)


def unit(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each row at length 1, however long or short it is; a row of zeros stays, with gradient 0.

    Rows are first brought to size 1 by a power of two, which is exact: squares of very small or
    very large numbers leave the range of a float (and ``torch.nn.functional.normalize`` leaves
    rows shorter than 1e-12 as they are).
    """
    in_float64 = vectors.dtype == torch.float64 and vectors.shape[1] == 3
    if in_float64 and vectors.device.type == "cpu":
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.mesh.geometry_compiled import Unit

        return Unit.apply(vectors)
    size = vectors.detach().abs().amax(dim=1, keepdim=True)
    size = torch.where((size > 0) & (size < torch.inf), size, 1)
    scaled = vectors / (size / (2 * torch.frexp(size).mantissa))
    length = scaled.norm(dim=1, keepdim=True)
    return torch.where(length > 0, scaled / torch.where(length > 0, length, 1), 0)


def safe_ratio(part: Float[Tensor, ""], whole: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """``part / whole``; 0 with gradient 0 if the whole is 0, as a mean over nothing."""
    is_zero = whole == 0
    return torch.where(is_zero, 0, part / torch.where(is_zero, 1, whole))
