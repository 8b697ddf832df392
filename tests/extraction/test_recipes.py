"""Networks as others build them, small ones: extracted, and held against their own values.

The architectures are those of DeepSDF (Park et al., CVPR 2019), IGR (Gropp et al., ICML 2020), NeuS
(Wang et al., NeurIPS 2021) and SIREN (Sitzmann et al., NeurIPS 2020), after their published code.
"""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import shapeopt
from shapeopt.errors import InputError

BOX = ([-1.0] * 3, [1.0] * 3)

OLD_WEIGHT_NORM = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")


class DeepSDF(nn.Module):
    """Eight hidden layers; layer 4 sees the code and the point again."""

    def __init__(self, norm, code=4, width=12, xyz_in_all=False):
        super().__init__()
        self.skip, self.xyz_in_all = 4, xyz_in_all
        sizes = [code + 3, *[width] * 8, 1]
        for layer, (into, out) in enumerate(pairwise(sizes)):
            if layer + 1 == self.skip:
                out -= sizes[0]
            elif xyz_in_all and layer < 8:
                out -= 3
            linear = nn.Linear(into, out)
            setattr(self, f"lin{layer}", norm(linear) if layer < 8 else linear)
        self.relu, self.th = nn.ReLU(), nn.Tanh()

    def forward(self, given):
        xyz, x = given[:, -3:], given
        for layer in range(9):
            if layer == self.skip:
                x = torch.cat([x, given], 1)
            elif layer and self.xyz_in_all:
                x = torch.cat([x, xyz], 1)
            x = getattr(self, f"lin{layer}")(x)
            if layer < 8:
                x = F.dropout(self.relu(x), p=0.2, training=self.training)
        return self.th(x)


class WithCode(nn.Module):
    """A decoder for one shape: its code is fixed."""

    def __init__(self, decoder, code=4):
        super().__init__()
        self.decoder, self.code = decoder, nn.Parameter(torch.randn(code))

    def forward(self, xyz):
        return self.decoder(torch.cat([self.code.expand(len(xyz), -1), xyz], dim=1))


class IGR(nn.Module):
    """ImplicitNet with beta = 0: a ReLU in the place of softplus; starts as a sphere."""

    def __init__(self, width=12, depth=8, skip=4, radius=0.5):
        super().__init__()
        self.skip, self.depth = skip, depth
        sizes = [3, *[width] * depth, 1]
        for layer, (into, out) in enumerate(pairwise(sizes)):
            out = out - 3 if layer + 1 == skip else out
            linear = nn.Linear(into, out)
            if layer == depth:
                nn.init.normal_(linear.weight, mean=math.sqrt(math.pi / into), std=1e-5)
                nn.init.constant_(linear.bias, -radius)
            else:
                nn.init.normal_(linear.weight, 0.0, math.sqrt(2 / out))
                nn.init.constant_(linear.bias, 0.0)
            setattr(self, f"lin{layer}", linear)
        self.activation = nn.ReLU()

    def forward(self, given):
        x = given
        for layer in range(self.depth + 1):
            if layer == self.skip:
                x = torch.cat([x, given], -1) / math.sqrt(2)
            x = getattr(self, f"lin{layer}")(x)
            x = self.activation(x) if layer < self.depth else x
        return x


class NeuS(nn.Module):
    """The SDF network, whose other outputs are features; the SDF is the first."""

    def __init__(self, norm, width=12, features=5, scale=1.5, activation=None):
        super().__init__()
        self.scale = scale
        sizes = [3, *[width] * 6, 1 + features]
        for layer, (into, out) in enumerate(pairwise(sizes)):
            linear = nn.Linear(into, out - 3 if layer == 2 else out)
            setattr(self, f"lin{layer}", norm(linear))
        self.activation = activation or nn.ReLU()

    def forward(self, inputs):
        inputs = inputs * self.scale
        x = inputs
        for layer in range(7):
            if layer == 3:
                x = torch.cat([x, inputs], 1) / math.sqrt(2)
            x = getattr(self, f"lin{layer}")(x)
            x = self.activation(x) if layer < 6 else x
        return torch.cat([x[:, :1] / self.scale, x[:, 1:]], dim=-1)


class Sdf(nn.Module):
    """The first output of a network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[:, :1]


class Residual(nn.Module):
    """Blocks of two layers around which the features pass."""

    def __init__(self, width=10, blocks=3):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, width))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x.relu())


class Convolutional(nn.Module):
    """From a point to a small image, which is convolved and pooled."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Linear(3, 36)
        self.one, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.two = nn.ConvTranspose2d(2, 1, 2, stride=2)
        self.last = nn.Linear(9, 1)

    def forward(self, x):
        x = self.norm(self.one(self.spread(x).view(-1, 1, 6, 6))).relu()
        x = F.max_pool2d(x, (3, 2))
        x = F.leaky_relu(self.two(x[:, :, :, :2]), 0.1)
        x = F.avg_pool2d(x, 2, stride=1)
        return self.last(x.flatten(1))


class Siren(nn.Module):
    """Sines in the place of ReLUs."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.last(torch.sin(30 * self.first(x)))


def old_weight_norm(linear: nn.Linear) -> nn.Linear:
    return nn.utils.weight_norm(linear)


RECIPES = {
    "DeepSDF": lambda: WithCode(DeepSDF(parametrizations.weight_norm)),
    "DeepSDF as published": lambda: WithCode(nn.DataParallel(DeepSDF(old_weight_norm))),
    "DeepSDF, the point in all layers": lambda: WithCode(
        DeepSDF(old_weight_norm, xyz_in_all=True, width=14)
    ),
    "IGR": IGR,
    "NeuS": lambda: Sdf(NeuS(old_weight_norm)),
    "residual": Residual,
    "convolutional": Convolutional,
}


def made(name: str) -> nn.Module:
    """The network in float64 and in eval mode, f = 0 in the middle of its values in the box."""
    torch.manual_seed(1)
    network = RECIPES[name]().double().eval()
    if name == "IGR":  # starts as a sphere
        return network
    # As after some training: larger weights, and biases.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn_like(parameter))
        values = network(2 * torch.rand(4096, 3, dtype=torch.float64) - 1)
        *_, last = (m for m in network.modules() if isinstance(m, nn.Linear))
        middle = values.median()
        if "DeepSDF" in name:
            middle = middle.atanh()
        last.bias[:1] -= middle * (1.5 if name == "NeuS" else 1)
    return network


def held(network: nn.Module, extractor: shapeopt.Extractor) -> tuple[int, int, float]:
    """Checks the surface of a network; returns its counts and its area."""
    with torch.no_grad():
        surface = shapeopt.extract_surface(network, BOX, extractor=extractor)
        size = network(2 * torch.rand(512, 3, dtype=torch.float64) - 1).abs().amax()
        assert network(surface.vertices).abs().amax() < 1e-12 * size
    at_border = surface.edges[(surface.edge_faces < 0).any(dim=1)]
    assert (surface.vertices[at_border].abs() == 1).all(dim=1).any(dim=1).all()
    # On both sides of a polygon f has the signs that its normal says.
    triangles = surface.triangles()
    middles = surface.vertices[triangles].mean(dim=1)
    steps = 1e-9 * surface.face_normals[surface.triangle_faces()]
    with torch.no_grad():
        outside, inside = network(middles + steps)[:, 0], network(middles - steps)[:, 0]
    assert (outside > inside).all()
    return surface.num_vertices, surface.num_faces, float(surface.area())


@pytest.mark.thorough
@OLD_WEIGHT_NORM
# Pooling after a ReLU: where all of a window is off its maxima coincide.
@pytest.mark.filterwarnings("ignore:edge subdivision was used instead of tracing")
@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name):
    network = made(name)
    vertices, faces, area = held(network, shapeopt.Subdivision())
    assert faces > 30
    traced = held(network, shapeopt.Tracing(complete=True))
    assert traced == (vertices, faces, pytest.approx(area, rel=1e-9))


@OLD_WEIGHT_NORM
@pytest.mark.parametrize("norm", [old_weight_norm, parametrizations.weight_norm])
def test_weight_norm_is_never_stale(norm):
    torch.manual_seed(0)
    network = nn.Sequential(norm(nn.Linear(3, 8)), nn.ReLU(), norm(nn.Linear(8, 1))).double()
    points = torch.rand(64, 3, dtype=torch.float64)
    with torch.no_grad():
        network[2].bias -= network(points).median()
        before = held(network, shapeopt.Subdivision())
        for name, parameter in network.named_parameters():
            if not name.endswith("bias"):
                parameter += 0.05 * torch.rand_like(parameter)
    after = held(network, shapeopt.Subdivision())
    assert after[2] != pytest.approx(before[2], rel=1e-3)


@OLD_WEIGHT_NORM
def test_gradients_reach_the_code_and_the_norms():
    network = made("DeepSDF as published")
    shapeopt.extract_surface(network, BOX).area().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert network.code.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Siren(), "sin is not known to be piecewise affine"),
        (Sdf(NeuS(lambda linear: linear, activation=nn.Softplus(beta=100))), "softplus"),
        (WithCode(DeepSDF(lambda linear: linear).train()), "dropout is active"),
    ],
)
def test_what_is_refused(network, message):
    with pytest.raises(InputError, match=message):
        shapeopt.extract_surface(network, BOX)
