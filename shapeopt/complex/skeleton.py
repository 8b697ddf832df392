"""Vertices and edges of a complex with their sign-vectors, and those of the box it starts from."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.signs import Constraints, ZobristKeys, zobrist_keys


@dataclass(frozen=True)
class Skeleton:
    """Vertices and edges of a complex, with their sign-vectors.

    Attributes:
        constraints: what the indices in the zeros mean.
        vertices: positions.
        vertex_zeros: the d constraints that are 0 at each vertex, in no order.
        vertex_plus_bits: packed + signs of each vertex.
        edges: the two end vertices.
        edge_zeros: the d - 1 constraints that are 0 on each edge.
        edge_keys: cell key of each edge.
        keys: the random numbers the keys are made of.
    """

    constraints: Constraints
    vertices: Float[Tensor, "v d"]
    vertex_zeros: Int[Tensor, "v d"]
    vertex_plus_bits: Int32[Tensor, "v words"]
    edges: Int32[Tensor, "e 2"]
    edge_zeros: Int[Tensor, "e d_minus_1"]
    edge_keys: Int64[Tensor, "e"]
    keys: ZobristKeys

    def edge_plus_bits(self, edges: Int64[Tensor, "n"]) -> Int32[Tensor, "n words"]:
        """Packed + signs of the given edges: a neuron is + on an edge if it is + at an end."""
        u, v = self.edges[edges].unbind(1)
        return self.vertex_plus_bits[u] | self.vertex_plus_bits[v]


def box_skeleton(constraints: Constraints, box: Box) -> Skeleton:
    """Corners and edges of the box, with all signs clear; not to be written to."""
    unit = _unit_skeleton(constraints, box.lower.device)
    return replace(unit, vertices=torch.where(unit.vertices == 1, box.upper, box.lower))


@lru_cache(maxsize=8)
def _unit_skeleton(constraints: Constraints, device: torch.device) -> Skeleton:
    """That of the box from 0 to 1, made once per architecture."""
    d = constraints.dimension
    corners = torch.cartesian_prod(*[torch.tensor([0, 1])] * d).view(2**d, d)
    planes = constraints.num_neurons + 2 * torch.arange(d) + corners
    # Corners are numbered in binary, axis 0 first: an edge along an axis joins the corner
    # that has a 0 there to the one that differs in that bit alone.
    ends, zeros = [], []
    for axis in range(d):
        start = torch.nonzero(corners[:, axis] == 0).flatten()
        ends.append(torch.stack([start, start + 2 ** (d - 1 - axis)], dim=1))
        zeros.append(planes[start][:, torch.arange(d) != axis])
    edge_zeros = torch.cat(zeros).to(device)
    keys = zobrist_keys(constraints, device)
    return Skeleton(
        constraints,
        corners.to(device, torch.float32),
        planes.to(device, constraints.index_dtype),
        torch.zeros(2**d, constraints.num_words, dtype=torch.int32, device=device),
        torch.cat(ends).to(device, torch.int32),
        edge_zeros.to(constraints.index_dtype),
        keys.zero[edge_zeros].sum(dim=1),
        keys,
    )
