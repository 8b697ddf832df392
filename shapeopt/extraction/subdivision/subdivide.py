"""Edge subdivision: the skeleton of a ReLU network's whole polyhedral complex in a box.

Berzins, *Polyhedral Complex Extraction from ReLU Networks using Edge Subdivision* (ICML 2023):
start from the edges of the box and cut them by one neuron after the other. A neuron cuts an edge
where its pre-activation changes sign, and every 2-face with two cut edges gets a new edge between
the two new vertices:

         u----------v                u--w1------v
         |          |     cut by k   |   \\      |
         |   face   |    --------->  |    \\     |      edge (w1, w2): zeros of the face, and k
         |          |                |     \\    |
         +----------+                +------w2--+

The published form visits every edge for every neuron. This one visits an edge only for the
neurons that cut it:

* One layer at a time. The layer's pre-activations are evaluated once at all vertices; within the
  layer they are affine along every edge, so a new vertex gets its values by interpolation.
* The + signs of a layer are packed into words. ``word[u] ^ word[v]`` is the set of neurons that
  cut the edge (u, v); edges wait in one queue per neuron, that of the next neuron to cut them.
* The two cut edges of a face are found by their equal cell keys (see ``signs.py``).

A vertex's sign is decided once and an edge is cut once by a neuron, so the combinatorics is that
of a consistent complex even in float32; only positions carry rounding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.signs import Constraints
from shapeopt.complex.skeleton import Skeleton, box_skeleton
from shapeopt.errors import InputError
from shapeopt.extraction.extractor import Backend, is_compiled
from shapeopt.extraction.memory import Budget
from shapeopt.extraction.progress import Progress
from shapeopt.extraction.subdivision.plain import PlainSubdivision
from shapeopt.extraction.subdivision.pruning import PRUNING, Pruning, edges_near_zero_set
from shapeopt.extraction.tolerances import ROUNDING_ULPS
from shapeopt.networks.affine import AffineLayer

if TYPE_CHECKING:
    from shapeopt.extraction.subdivision.compiled import CompiledSubdivision


@torch.no_grad()
def subdivide(
    layers: Sequence[AffineLayer],
    box: Box,
    *,
    surface_only: bool = False,
    cap: bool = False,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    backend: Backend = "auto",
    pruning: Pruning = PRUNING,
    ulps: int = ROUNDING_ULPS,
) -> Skeleton:
    """Subdivides the box by every neuron of the network, the outputs included.

    Args:
        layers: affine layers, ReLU between them, of the dtype and on the device to compute with.
        box: the domain, of the same dtype and device.
        surface_only: leave out regions proven free of zeros of the (one) output as early as that
            pays, and at the end all edges that it does not cut. The result has all cells of the
            zero set, and some others.
        cap: with ``surface_only``, keep all cells in the box planes, too.
        max_bytes: memory to hold at most; most of what the device has free if None.
        progress: called after each neuron.
        backend: ``"plain"`` (torch), ``"compiled"`` (CPU alone) or ``"auto"``; both make the same
            decisions.
        pruning: from what size on leaving out regions pays.
        ulps: that count as rounding, see ``tolerances.py``.

    Returns:
        The skeleton of the complex, on the same device and with positions in the same dtype. If
        there is provably no zero, that of the layers so far.

    Raises:
        Inconsistent: if a cut face does not have exactly two cut edges: more counts as rounding
            than ``ulps`` say, or two 64-bit keys are equal.
        ExtractionError: if more memory would be needed.
    """
    if layers[0].encoding is not None:
        raise InputError(
            "edge subdivision of a box knows no encodings; extract the surface of an encoded "
            "network by tracing (method='trace', or extractor=trace in a training)"
        )
    constraints = Constraints(tuple(len(layer.bias) for layer in layers), box.dimension)
    start = box_skeleton(constraints, box)
    given = start, start.vertices, Budget(max_bytes, box.lower.device), ulps
    state = implementation(is_compiled(backend, box.lower.device))(*given)
    kept = 0
    for index in range(len(layers)):
        state.evaluate(layers, index)
        near = None
        if surface_only:
            near = _edges_to_cut(state, layers, index, kept, pruning, ulps)
        if near is not None:
            near = (near | state.edges_in_planes()) if cap else near
            if not bool(near.any()):
                break
            state.keep(near, faces_are_whole=index == len(layers) - 1)
            kept = state.sizes[0]
        state.cut_by_layer(index, progress)
    return state.finish()


def _edges_to_cut(
    state: "PlainSubdivision | CompiledSubdivision",
    layers: Sequence[AffineLayer],
    index: int,
    num_kept: int,
    pruning: Pruning,
    ulps: int,
) -> Bool[Tensor, "e"] | None:
    """The edges that have to do with the zero set, before a layer cuts them; None for all.

    Args:
        num_kept: vertices that the last time has left.
    """
    hidden_left = len(layers) - 1 - index
    if hidden_left == 0:
        return state.cut_by_output()
    edges, values = state.edges_so_far(), state.values_at_work()
    if index and pruning.pays(layers[index], edges, values, num_kept, hidden_left):
        how = {"is_partial": state.is_partial, "compiled": state.is_compiled}
        return edges_near_zero_set(layers[index:], state.regions(), values, ulps, **how)
    return None


def implementation(compiled: bool) -> "type[PlainSubdivision] | type[CompiledSubdivision]":
    if not compiled:
        return PlainSubdivision
    # Imported here, so that importing the package does not load the compiler.
    from shapeopt.extraction.subdivision.compiled import CompiledSubdivision

    return CompiledSubdivision
