"""Cells of the zero set and vertices from their signs, compiled for the CPU."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.extraction.compiled import in_parts
from shapeopt.extraction.tolerances import MARGIN_ULPS
from shapeopt.extraction.tracing.kernels import EPS, FlatNet, solve_vertices, walk_polygons
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.extraction.tracing.zero_cells import Outlines
from shapeopt.networks.affine import AffineLayer

SMALL = 128
"""Up to so many polygons or vertices are done in one part: threads would cost more."""


ROOM = 8
"""Room for corners, per polygon, to start with; they have 4 on average."""


class CompiledZeroCellSolver(ZeroCellSolver):
    """The solver for 3 dimensions on a CPU."""

    def __init__(self, layers: Sequence[AffineLayer], box: Box, scale: Float64[Tensor, "hidden"]):
        super().__init__(layers, box, scale)
        weights = [layer.weight.numpy().T.ravel() for layer in layers]
        self._net = FlatNet(
            np.array([3, *self.constraints.widths]),
            np.concatenate(weights),
            np.cumsum([0, *(len(part) for part in weights)]),
            np.concatenate([layer.bias.numpy() for layer in layers]),
            np.array([self.constraints.words(i).start for i in range(len(layers))]),
            box.lower.numpy(),
            box.upper.numpy(),
        )

    def _polygons(self, signs: Int32[Tensor, "n words"], base: Float64[Tensor, "n 3"]) -> Outlines:
        count = len(signs)
        counts = np.empty(count, np.int64)
        given = self._net, self.shift.numpy(), signs.numpy().view(np.uint32), base.numpy(), counts
        room = ROOM * (count + SMALL)
        while True:
            facets, corners = np.empty(room, np.int64), np.empty((room, 3))
            found = in_parts(walk_polygons, count, SMALL, *given, facets, corners)
            if min(size for _, size in found) >= 0:
                break
            room *= 2
        chosen = [slice(first, first + size) for first, size in found]
        return (
            torch.from_numpy(counts),
            torch.from_numpy(np.concatenate([facets[part] for part in chosen])),
            torch.from_numpy(np.concatenate([corners[part] for part in chosen])),
        )

    def solve_vertices(
        self,
        vertices: Float64[Tensor, "v 3"],
        zeros: Int64[Tensor, "v 3"],
        signs: Int32[Tensor, "v words"],
    ) -> tuple[Float64[Tensor, "v 3"], Bool[Tensor, "v"], Float64[Tensor, "v 3 3"]]:
        """As in :class:`ZeroCellSolver`."""
        count = len(vertices)
        positions, rows = np.empty((count, 3)), np.empty((count, 3, 3))
        holds = np.empty(count, np.bool_)
        given = vertices.numpy(), zeros.numpy(), signs.numpy().view(np.uint32)
        margins = self.size.numpy(), MARGIN_ULPS * EPS
        in_parts(solve_vertices, count, SMALL, self._net, *margins, *given, positions, holds, rows)
        return torch.from_numpy(positions), torch.from_numpy(holds), torch.from_numpy(rows)
