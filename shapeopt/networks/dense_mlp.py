"""A ReLU network in which each neuron sees the position and all neurons before it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from shapeopt.errors import InputError

LIFT = 1.0  # box lengths added to the position, so that a ReLU lets it through


def dense_sdf_network(width: int, depth: int, radius: float = 0.3) -> nn.Sequential:
    """ReLU network with skip connections to all later layers; starts near a sphere's distance.

    Every neuron puts one fold on the surface, and polygons are where folds cross: their number
    grows with the square of the number of neurons. In a plain network w neurons after w others
    have w^2 weights; here they have as many for *all* neurons before them, about twice the
    weights for the same folds. After Huang et al., *Densely connected convolutional networks*
    (CVPR 2017).

    The skip connections are weights, too: a layer copies its inputs, which are positive and so
    pass its ReLU unchanged. It is an ``nn.Sequential`` of ``nn.Linear`` and ``nn.ReLU`` like any
    other, and the copies are zero on whole regions but never negative: no folds. Extract its
    surface by subdivision; tracing does not know that they are none.

    Args:
        width: new neurons in each hidden layer.
        depth: hidden layers.
        radius: of the initial sphere, in units of the normalised box (side 1).

    Raises:
        InputError: for a width or depth below 1, or a radius not in (0, 0.5).
    """
    if width < 1 or depth < 1:
        raise InputError(f"width {width} and depth {depth} of the network must be at least 1")
    if not 0 < radius < 0.5:
        raise InputError(f"the sphere's radius is {radius}; it must lie between 0 and 0.5")
    points = torch.rand(4096, 3) - 0.5
    features = points
    modules: list[nn.Module] = []
    for _ in range(depth):
        layer = _new_layer(features, width)
        modules += [layer, nn.ReLU()]
        with torch.no_grad():
            features = layer(features).relu()
    return nn.Sequential(*modules, _fitted_output(features, points.norm(dim=1) - radius))


@torch.no_grad()
def _new_layer(features: Float[Tensor, "n k"], width: int) -> nn.Linear:
    """A layer that copies its inputs and adds neurons with a fold through a tenth to nine tenths
    of the points: planes in the position, bent a little by the neurons before."""
    inputs = features.shape[1]
    layer = nn.Linear(inputs, width)
    nn.init.normal_(layer.weight, std=0.5 / math.sqrt(max(inputs - 3, 1)))
    layer.weight[:, :3] = nn.functional.normalize(torch.randn(width, 3), dim=1)
    values = features @ layer.weight.T
    shares = 0.1 + 0.8 * torch.rand(width)
    layer.bias.copy_(-values.sort(dim=0).values[(shares * len(values)).long(), torch.arange(width)])
    lift = LIFT if inputs == 3 else 0.0
    parametrize.register_parametrization(
        layer, "weight", _CopyInputs(torch.eye(inputs)), unsafe=True
    )
    parametrize.register_parametrization(
        layer, "bias", _CopyInputs(torch.full((inputs,), lift)), unsafe=True
    )
    return layer


@torch.no_grad()
def _fitted_output(features: Float[Tensor, "n k"], values: Float[Tensor, "n"]) -> nn.Linear:
    """The last layer, by least squares with a small ridge that keeps its weights modest."""
    rows = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    gram = rows.T @ rows + 1e-2 * torch.eye(rows.shape[1], dtype=torch.double)
    solution = torch.linalg.solve(gram, rows.T @ values.double())
    last = nn.Linear(features.shape[1], 1)
    last.weight.copy_(solution[None, :-1])
    last.bias.copy_(solution[-1:])
    return last


class _CopyInputs(nn.Module):
    """Puts constant rows above the trained ones."""

    def __init__(self, rows: Float[Tensor, "..."]):
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.rows: Tensor

    def forward(self, trained: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.cat([self.rows, trained])
