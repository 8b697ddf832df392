"""What solving vertices leaves for their gradient."""

from typing import NamedTuple

from jaxtyping import Float, Float64
from torch import Tensor


class AtVertices(NamedTuple):
    """What is known of a network at vertices.

    Attributes:
        rows: gradients of the constraints that are 0 there.
        outputs: what the hidden neurons pass on there, in the dtype that gradients to the weights
            are summed in; without columns if that is not known.
    """

    rows: Float64[Tensor, "v d d"]
    outputs: Float[Tensor, "v hidden"]
