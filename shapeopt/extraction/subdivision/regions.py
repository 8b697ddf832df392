"""The regions of a skeleton, found by sorting their keys, in plain torch on any device.

This is the oracle: the compiled twin for the CPU (``regions_compiled.py``) must find the same
regions, which it may number otherwise.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Int, Int64
from torch import Tensor

from shapeopt.complex.skeleton import Skeleton


class Regions(NamedTuple):
    """The regions of a skeleton, or what pruning left of them.

    Attributes:
        around: the regions around each edge, -1 where there is none.
        vertex: one vertex of each region.
        plus: the zeros of that vertex that are + in the region; a box plane stands for the others.
        num_vertices, num_edges: that are left of each region.
        lower, upper: corners of the box around its vertices.
    """

    around: Int[Tensor, "sides e"]
    vertex: Int[Tensor, "r"]
    plus: Int[Tensor, "r d"]
    num_vertices: Int[Tensor, "r"]
    num_edges: Int[Tensor, "r"]
    lower: Float32[Tensor, "r d"]
    upper: Float32[Tensor, "r d"]


def find_regions(skeleton: Skeleton) -> Regions:
    """Groups vertices and edges by the regions around them, by sorting the regions' keys."""
    constraints, dimension = skeleton.constraints, skeleton.constraints.dimension
    zeros = skeleton.vertex_zeros.long()
    base = skeleton.keys.of_cells(skeleton.vertex_plus_bits, zeros, constraints)
    sides, turned, exists = _turned(skeleton, zeros, base)
    side, vertex = torch.nonzero(exists, as_tuple=True)
    key, order = torch.sort(turned[exists])
    side, vertex = side[order], vertex[order]
    names, region, num_vertices = torch.unique_consecutive(
        key, return_inverse=True, return_counts=True
    )
    first = num_vertices.cumsum(0) - num_vertices

    _, turned, exists = _turned(skeleton, skeleton.edge_zeros.long(), skeleton.edge_keys)
    around = torch.where(exists, torch.searchsorted(names, turned), -1)
    points = skeleton.vertices.float()[vertex]
    index = region[:, None].expand_as(points)
    corners = points.new_empty(len(names), dimension)
    return Regions(
        around,
        vertex[first],
        torch.where(sides[side[first]], zeros[vertex[first]], constraints.num_constraints - 1),
        num_vertices,
        torch.bincount(around[around >= 0], minlength=len(names)),
        corners.scatter_reduce(0, index, points, "amin", include_self=False),
        corners.scatter_reduce(0, index, points, "amax", include_self=False),
    )


def _turned(
    skeleton: Skeleton, zeros: Int64[Tensor, "n k"], keys: Int64[Tensor, "n"]
) -> tuple[Bool[Tensor, "sides k"], Int64[Tensor, "sides n"], Bool[Tensor, "sides n"]]:
    """Every way to turn all zeros of cells into + (True) or -, the keys this gives, and whether
    there is such a region: none is on the outer side of a box plane."""
    place = torch.arange(zeros.shape[1], device=zeros.device)
    numbers = torch.arange(2 ** len(place), device=zeros.device)
    sides = ((numbers[:, None] >> place) & 1).bool()
    without = keys - skeleton.keys.zero[zeros].sum(dim=1)
    plus = skeleton.keys.plus[zeros]
    inside = zeros < skeleton.constraints.num_neurons
    turned = torch.stack([without + (plus * side).sum(dim=1) for side in sides])
    exists = torch.stack([(side | inside).all(dim=1) for side in sides])
    return sides, turned, exists
