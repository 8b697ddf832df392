"""A piecewise-affine encoding: features on lattices of simplices, of several resolutions.

A point gets, beside its coordinates, the features of the lattice vertices around it, weighted by
its barycentric coordinates in the simplex that it lies in: affine within every simplex. A grid that
is trained makes fine detail cheap, as in Mueller et al., *Instant neural graphics primitives*
(SIGGRAPH 2022), and simplices in place of cubes keep it piecewise affine, as in Rosu and Behnke,
*PermutoSDF* (CVPR 2023). Every lattice refines the ones before it, so that all features are affine
in each simplex of the finest one. Nothing is hashed: two places never share a feature.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from shapeopt.errors import InputError
from shapeopt.networks.lattice import (
    ORDERS,
    PLACES,
    barycentric,
    coarser,
    corner_numbers,
    place_in,
    simplex_numbers,
    simplices_of,
    slopes_between,
    table,
)
from shapeopt.networks.relu_mlp import sdf_network

BOX = (-0.5, 0.5)
"""The lattices fill this box, that of normalised shapes."""

MOST_SIMPLICES = 2**31 - 1
"""Of the finest lattice: a simplex's number goes with the packed signs, which are int32."""


@dataclass(frozen=True)
class Encoding:
    """Features on the vertices of lattices that fill the box from -0.5 to 0.5 along each axis.

    Attributes:
        cells: cubes along a side of each lattice; each a multiple of the one before.
        features: of each lattice, a row per vertex.
    """

    cells: tuple[int, ...]
    features: tuple[Float[Tensor, "_ _"], ...]

    @property
    def finest(self) -> int:
        """Cubes along a side of the last lattice."""
        return self.cells[-1]

    @property
    def requires_grad(self) -> bool:
        """Whether the features are being trained."""
        return any(part.requires_grad for part in self.features)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Encoding":
        """The function applied to the features."""
        return replace(self, features=tuple(function(part) for part in self.features))

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n inputs"]:
        """The points and their features side by side, differentiable in both."""
        unit = (points - BOX[0]).clamp(0, 1)
        columns = [points]
        for cells, features in zip(self.cells, self.features, strict=True):
            where = place_in(unit, cells)
            at_corners = _picked(features, corner_numbers(*where, cells))
            columns.append(_mean(barycentric(unit, *where, cells), at_corners))
        return torch.cat(columns, dim=1)

    def simplices_at(self, points: Float[Tensor, "n 3"]) -> Int64[Tensor, "n"]:
        """The simplex of the finest lattice that each point lies in."""
        return simplex_numbers(*place_in(points - BOX[0], self.finest), self.finest)

    def corners_of(self, simplices: Int64[Tensor, "n"]) -> Float[Tensor, "n 4 3"]:
        """The corners of simplices of the finest lattice."""
        cubes, kinds = simplices_of(simplices, self.finest)
        corner = torch.arange(4, device=kinds.device)[:, None]
        places = table(PLACES, kinds.device)[kinds]
        steps = (places[:, None, :] < corner).to(self.features[0].dtype)
        return (cubes[:, None, :] + steps) / self.finest + BOX[0]

    def values_in(
        self, simplices: Int64[Tensor, "n"], points: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n inputs"]:
        """What the encoding would be if it were affine everywhere as in the given simplices."""
        return self.maps_in(simplices, points)[0]

    def slopes_in(self, simplices: Int64[Tensor, "n"]) -> Float[Tensor, "n 3 inputs"]:
        """The derivatives of the encoding along the axes in the given simplices."""
        like = self.features[0]
        columns = [torch.eye(3, dtype=like.dtype, device=like.device).expand(len(simplices), 3, 3)]
        for cells, at_corners, (_, kinds) in self._levels(simplices):
            columns.append(slopes_between(at_corners, kinds, cells))
        return torch.cat(columns, dim=2)

    def maps_in(
        self, simplices: Int64[Tensor, "n"], points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "n inputs"], Float[Tensor, "n 3 inputs"]]:
        """Both of these at once."""
        eye = torch.eye(3, dtype=points.dtype, device=points.device)
        unit, values, slopes = points - BOX[0], [points], [eye.expand(len(points), 3, 3)]
        for cells, at_corners, (cubes, kinds) in self._levels(simplices):
            values.append(_mean(barycentric(unit, cubes, kinds, cells), at_corners))
            slopes.append(slopes_between(at_corners, kinds, cells))
        return torch.cat(values, dim=1), torch.cat(slopes, dim=2)

    def heights_in(
        self, simplices: Int64[Tensor, "n"], points: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 4"]:
        """How far inside each point is of the sides of its simplex of the finest lattice, opposite
        to the corners: their barycentric coordinates, times the length of a cube."""
        where = simplices_of(simplices, self.finest)
        return barycentric(points - BOX[0], *where, self.finest) / self.finest

    def height_slopes_in(self, simplices: Int64[Tensor, "n"]) -> Float[Tensor, "n 3 4"]:
        """The derivatives of those along the axes."""
        like = self.features[0]
        unit = torch.eye(4, dtype=like.dtype, device=like.device).expand(len(ORDERS), 4, 4)
        of_kinds = slopes_between(unit, torch.arange(len(ORDERS), device=like.device), 1)
        return of_kinds[simplices % len(ORDERS)]

    def _levels(
        self, simplices: Int64[Tensor, "n"]
    ) -> Iterator[tuple[int, Tensor, tuple[Tensor, Tensor]]]:
        """For each lattice its cells, and the features at the corners, the cubes and the kinds of
        its simplices that contain the given."""
        finest = simplices_of(simplices, self.finest)
        for cells, features in zip(self.cells, self.features, strict=True):
            where = coarser(*finest, self.finest // cells)
            yield cells, _picked(features, corner_numbers(*where, cells)), where


def _picked(
    features: Float[Tensor, "v k"], corners: Int64[Tensor, "n 4"]
) -> Float[Tensor, "n 4 k"]:
    return features.index_select(0, corners.flatten()).view(*corners.shape, features.shape[1])


def _mean(
    weights: Float[Tensor, "n 4"], at_corners: Float[Tensor, "n 4 k"]
) -> Float[Tensor, "n k"]:
    return (weights[:, :, None] * at_corners).sum(dim=1)


class EncodedNetwork(nn.Module):
    """A ReLU MLP on a point and its features: ``f(x) = mlp([x, encoding(x)])``.

    It is piecewise affine in the box from -0.5 to 0.5, and its surface is extracted there, by
    :class:`shapeopt.Tracing`: a region is a simplex of the finest lattice and a sign pattern.
    Outside of the box the features are those of the nearest point of it.

    Args:
        cells: cubes along a side of each lattice, growing; each a multiple of the one before.
        features: of each vertex of a lattice.
        width: neurons in each hidden layer.
        depth: hidden layers.
        radius: of the initial sphere, in box lengths.
        spread: of the features at the start, normal; 0 to start with the sphere of the MLP alone.

    Raises:
        InputError: for lattices that do not refine each other, and sizes below 1; and as
            :func:`shapeopt.sdf_network`.
    """

    input_dimension = 3

    def __init__(
        self,
        cells: Sequence[int] = (8, 16, 32),
        features: int = 2,
        width: int = 16,
        depth: int = 2,
        radius: float = 0.3,
        spread: float = 1e-4,
    ):
        super().__init__()
        cells = tuple(int(number) for number in cells)
        refine = all(fine > coarse and fine % coarse == 0 for coarse, fine in pairwise(cells))
        if not cells or cells[0] < 1 or not refine:
            raise InputError(
                f"cells is {list(cells)}; give one or more numbers, each a multiple of the one "
                "before, such as [8, 16, 32]"
            )
        if len(ORDERS) * cells[-1] ** 3 > MOST_SIMPLICES:
            raise InputError(
                f"cells is {list(cells)}; the finest lattice can have 710 cubes a side at most"
            )
        if features < 1 or spread < 0:
            raise InputError(
                f"features is {features} and spread {spread}; there must be at least 1 feature, "
                "and the spread must not be negative"
            )
        self.cells = cells
        self.features = nn.ParameterList(
            spread * torch.randn((number + 1) ** 3, features) for number in cells
        )
        first, *others = sdf_network(width, depth, radius=radius)
        assert isinstance(first, nn.Linear)
        self.mlp = nn.Sequential(_with_inputs(first, features * len(cells)), *others)

    @property
    def encoding(self) -> Encoding:
        """The features as they are now, with graph."""
        return Encoding(self.cells, tuple(self.features))

    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """f at points, ``[n, 1]``."""
        return self.mlp(self.encoding(x))


@torch.no_grad()
def _with_inputs(linear: nn.Linear, count: int) -> nn.Linear:
    """The layer with further inputs, with weights as large as those of the others."""
    more = nn.Linear(linear.in_features + count, linear.out_features)
    std = float(linear.weight.std())
    more.weight.copy_(torch.cat([linear.weight, std * torch.randn(len(linear.weight), count)], 1))
    more.bias.copy_(linear.bias)
    return more
