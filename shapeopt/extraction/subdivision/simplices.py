"""Edge subdivision in the simplices of an encoded network, where its surface may be.

In a simplex the network is an ordinary one. So all simplices that bounds do not clear are cut at
once, each for itself. They have nothing in common here, and what comes out are points of all
polygons, not a mesh: tracing starts from them and misses nothing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.cells import collect_cells
from shapeopt.complex.signs import Constraints
from shapeopt.complex.simplices import simplex_skeleton, simplices_in
from shapeopt.complex.skeleton import Skeleton
from shapeopt.extraction.memory import Budget
from shapeopt.extraction.subdivision.subdivide import implementation
from shapeopt.mesh.ragged import owners_of
from shapeopt.networks.affine import AffineLayer
from shapeopt.networks.encoding import Encoding
from shapeopt.networks.lattice import ORDERS

AT_A_TIME = 2**13
"""Simplices that are cut at once: it bounds the memory."""


def middles_in_simplices(
    layers: Sequence[AffineLayer], ulps: int, *, compiled: bool
) -> Float[Tensor, "n 3"]:
    """A point inside each polygon of the zero set, simplex by simplex.

    Args:
        layers: without graph, in float64; the first one has an encoding.
        ulps: that count as rounding, see ``tolerances.py``.
        compiled: by the compiled implementation, on a CPU.

    Raises:
        Inconsistent: if more counts as rounding than ``ulps`` say.
    """
    constraints = Constraints(tuple(len(layer.bias) for layer in layers), 3)
    encoding = layers[0].encoding
    assert encoding is not None
    found = [encoding.features[0].new_empty(0, 3)]
    near = simplices_near_zero_set(layers)
    for first in range(0, len(near), AT_A_TIME):
        simplices = near[first : first + AT_A_TIME]
        start = simplex_skeleton(constraints, encoding, simplices)
        inputs = encoding.values_in(simplices_in(start.vertex_plus_bits), start.vertices)
        budget = Budget(None, inputs.device)
        state = implementation(compiled)(start, inputs, budget, ulps)
        for index in range(len(layers)):
            state.evaluate(layers, index)
            state.cut_by_layer(index, None)
        found.append(_middles(state.finish()))
    return torch.cat(found)


def simplices_near_zero_set(layers: Sequence[AffineLayer]) -> Int64[Tensor, "s"]:
    """The simplices of the finest lattice in which f may be 0, by interval arithmetic.

    The first layer is affine in a simplex, so its values lie between those at the corners.
    """
    first, *others = layers
    encoding = first.encoding
    assert encoding is not None
    every = torch.arange(encoding.finest**3 * len(ORDERS), device=first.bias.device)
    return torch.cat([_may_be_zero(first, others, encoding, part) for part in every.split(2**15)])


def _may_be_zero(
    first: AffineLayer,
    others: Sequence[AffineLayer],
    encoding: Encoding,
    simplices: Int64[Tensor, "s"],
) -> Int64[Tensor, "k"]:
    corners = encoding.corners_of(simplices).flatten(0, 1)
    inputs = encoding.values_in(simplices.repeat_interleave(4), corners)
    values = first.values(inputs).view(len(simplices), 4, -1)
    low, high = values.amin(dim=1), values.amax(dim=1)
    before = first
    for layer in others:
        low, high = before.activated(low), before.activated(high)
        middle, reach = (low + high) / 2, (high - low) / 2
        middle, reach = layer.values(middle), reach @ layer.weight.abs().T
        low, high, before = middle - reach, middle + reach, layer
    slack = 1e-12 * torch.maximum(low.abs(), high.abs())
    return simplices[((low <= slack) & (high >= -slack))[:, 0]]


def _middles(skeleton: Skeleton) -> Float[Tensor, "n 3"]:
    """The mean of the middles of each polygon's edges."""
    output = skeleton.constraints.output
    edges = torch.nonzero((skeleton.edge_zeros == output).any(dim=1)).flatten()
    if len(edges) == 0:
        return skeleton.vertices[:0]
    polygons = collect_cells(skeleton, 2, edges, within=output)
    middles = skeleton.vertices[skeleton.edges[polygons.edges].long()].mean(dim=1)
    sizes = polygons.edge_offsets.diff()
    total = middles.new_zeros(len(sizes), 3)
    total.index_add_(0, owners_of(polygons.edge_offsets, len(middles)), middles)
    return total / sizes[:, None]
