"""Proofs that the zero set is somewhere else, so that its surroundings alone are subdivided.

Between two layers each region has one affine map to the next pre-activations, and what the rest
of the network makes of it can be bounded. A region whose bounds have one sign has no zero in it,
and none of its parts will ever have one. Dropping it loses nothing:

* A region that does hold a zero is never dropped. All its vertices, edges and 2-faces are kept,
  and later neurons cut them exactly as they would in the whole complex.
* Where dropped regions meet kept ones, 2-faces with only some of their edges remain. Such a face
  lies in no kept region. If two of its edges are left and cut, the edge between them is a true one
  of the complex; if one is, the face is passed over.
* For caps all edges in the box planes are kept. So the 2-faces there stay whole, too, whatever
  becomes of the regions behind them.

So what remains at the end is part of the true skeleton, and has all cells of the zero set.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shapeopt.extraction.subdivision.bounds import may_hold_zero
from shapeopt.extraction.subdivision.regions import Regions
from shapeopt.networks.affine import AffineLayer


class Pruning(NamedTuple):
    """From what size on leaving out regions takes less time than it saves.

    Attributes:
        min_vertices: for each hidden layer to come. A complex of fewer is subdivided faster than
            its regions are bounded, and through many layers the bounds are wide.
        min_growth: since the last time; of a complex that has hardly grown little can go.
        min_cuts: new vertices on the edges for each that there is, before the last hidden layer:
            what goes there is cut by that one alone.
    """

    min_vertices: int
    min_growth: float
    min_cuts: float

    def pays(
        self,
        layer: AffineLayer,
        edges: Int[Tensor, "e 2"],
        values: Float[Tensor, "v width"],
        num_kept: int,
        hidden_left: int,
    ) -> bool:
        """Whether to leave out regions now.

        Args:
            layer: at work.
            edges: so far.
            values: of the layer at the vertices so far.
            num_kept: vertices that the last time has left.
            hidden_left: hidden layers to come; at least one.
        """
        least = max(self.min_vertices * hidden_left, self.min_growth * num_kept)
        if len(values) < least:
            return False
        return hidden_left > 1 or _cuts_per_vertex(layer, edges, values) >= self.min_cuts


PRUNING = Pruning(min_vertices=1 << 12, min_growth=2.0, min_cuts=1.5)

SAMPLE = 1024
"""Edges whose cuts are counted."""


def _cuts_per_vertex(
    layer: AffineLayer, edges: Int[Tensor, "e 2"], values: Float[Tensor, "v width"]
) -> float:
    """How many vertices a layer will put on these edges for each of theirs, by a sample."""
    step = -(-len(edges) // SAMPLE)
    one, two = (values[edges[::step].long()] >= 0).unbind(1)
    cuts = one != two
    if layer.is_linear is not None:
        cuts &= ~layer.is_linear
    return step * int(cuts.sum()) / len(values)


def edges_near_zero_set(
    rest: Sequence[AffineLayer],
    regions: Regions,
    values: Float[Tensor, "v width"],
    ulps: int,
    *,
    is_partial: bool,
    compiled: bool,
) -> Bool[Tensor, "e"]:
    """Edges of the regions that may hold a zero of the output.

    Args:
        rest: the layers from the one at work on, a hidden one; the last has one output.
        regions: of the complex of the layers before, or what earlier calls left of it.
        values: of the layer at work at the vertices.
        ulps: that count as rounding.
        is_partial: whether earlier calls have left regions out.
        compiled: with the compiled kernels, on a CPU.
    """
    bound = may_hold_zero
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.subdivision.bounds_compiled import may_hold_zero as bound
    whole = torch.ones(len(regions), dtype=torch.bool, device=values.device)
    if is_partial:
        whole = regions.are_whole()
    return regions.edges_of(bound(rest, regions, whole, values, ulps))
