"""Cells of the zero set and vertices from their signs, compiled for the CPU: see ``plain.py``."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32, Int64
from torch import Tensor

from shapeopt.compiled import in_parts
from shapeopt.complex.box import Box
from shapeopt.complex.keys_compiled import keys_of_cells
from shapeopt.extraction.tolerances import LONGEST_CORRECTION, MARGIN_ULPS
from shapeopt.extraction.tracing import cells_compiled, equal_keys_compiled, kernels
from shapeopt.extraction.tracing.equal_keys import Distinct
from shapeopt.extraction.tracing.following import followed
from shapeopt.extraction.tracing.plain import Scale, Solved, ZeroCellSolver, does_not_close
from shapeopt.extraction.tracing.seen_cells import SeenCells
from shapeopt.extraction.tracing.sign_order import in_sign_order
from shapeopt.extraction.tracing.zero_cells import Outlines, ZeroCells
from shapeopt.networks.affine import AffineLayer

SMALL = 128
"""Up to so many polygons or vertices are done in one part: threads would cost more."""

SMALL_SUMS = 1 << 22
"""The same for points at which f is evaluated, times the network's weights."""

SMALL_FRONT = 4096
"""Up to so many polygons have changed, their surroundings are followed on one thread."""

ROOM = 8
"""Room for corners, per polygon, to start with; they have 4 on average."""


class CompiledZeroCellSolver(ZeroCellSolver):
    """The solver for 3 dimensions on a CPU."""

    is_compiled = True

    def __init__(self, layers: Sequence[AffineLayer], box: Box, scale: Scale):
        super().__init__(layers, box, scale)
        weights = [layer.weight.numpy().T.ravel() for layer in layers]
        past = np.zeros(kernels.PAST)
        self._net = kernels.FlatNet(
            np.array([layers[0].weight.shape[1], *self.constraints.widths]),
            np.concatenate([*weights, past]),
            np.cumsum([0, *(len(part) for part in weights)]),
            np.concatenate([*(layer.bias.numpy() for layer in layers), past]),
            self.constraints.output,
            np.array([self.constraints.words(i).start for i in range(len(layers))]),
            box.lower.numpy(),
            box.upper.numpy(),
        )
        self._settings = kernels.WalkSettings(self.shift.numpy(), LONGEST_CORRECTION)
        bits = self.bits.bits.numpy().view(np.uint32)
        self._turning = kernels.Turning(self.keys.plus.numpy(), self.bits.words.numpy(), bits)

    def evaluate(self, points: Float64[Tensor, "n 3"]) -> Float64[Tensor, "n"]:
        """As in :class:`ZeroCellSolver`."""
        if self.simplices is not None:
            return super().evaluate(points)
        floor, out = np.zeros(self.num_hidden + kernels.PAST), np.empty(len(points))
        if self.linear is not None:
            floor[self.linear.numpy()] = -np.inf
        given = self._net, floor, points.contiguous().numpy(), out
        in_parts(kernels.evaluate, len(points), SMALL_SUMS // len(self._net.weights), *given)
        return torch.from_numpy(out)

    def distinct(self, keys: Int64[Tensor, "n"]) -> Distinct:
        """As in :class:`ZeroCellSolver`."""
        return equal_keys_compiled.distinct(keys)

    def seen(self, known: Int64[Tensor, "k"]) -> SeenCells:
        """As in :class:`ZeroCellSolver`."""
        return cells_compiled.SeenCellsInTable(known)

    def cell_keys(self, plus_bits: Int32[Tensor, "n words"]) -> Int64[Tensor, "n"]:
        """As in :class:`ZeroCellSolver`."""
        if self.simplices is not None:
            return super().cell_keys(plus_bits)
        output = torch.tensor([[self.constraints.output]]).expand(len(plus_bits), 1)
        return keys_of_cells(self.keys, plus_bits, output)

    def keys_behind(self, cells: ZeroCells) -> Int64[Tensor, "m"]:
        """As in :class:`ZeroCellSolver`."""
        if self.simplices is not None:
            return super().keys_behind(cells)
        return cells_compiled.keys_behind(cells, self._turning.plus_key)

    def across(
        self, cells: ZeroCells, facets: Int64[Tensor, "n"]
    ) -> tuple[Int32[Tensor, "n words"], Float64[Tensor, "n 3"]]:
        """As in :class:`ZeroCellSolver`."""
        if self.simplices is not None:
            return super().across(cells, facets)
        _, words, bits = self._turning
        return cells_compiled.across(cells, facets, words, bits)

    def follow(
        self,
        plus_bits: Int32[Tensor, "n words"],
        points: Float64[Tensor, "n 3"],
        known: Int64[Tensor, "k"],
    ) -> ZeroCells | None:
        """As in :class:`ZeroCellSolver`: cell by cell where little changed, or on one thread."""
        is_small = len(known) > 0 and len(plus_bits) <= SMALL_FRONT
        if self.simplices is not None or not (is_small or torch.get_num_threads() == 1):
            return None
        network = self._net, self._settings, self._turning
        cells = followed(network, self.cell_keys(plus_bits), plus_bits, points, known)
        if cells is None:
            raise does_not_close()
        return cells

    def in_order(self, cells: ZeroCells) -> ZeroCells:
        """As in :class:`ZeroCellSolver`."""
        return cells_compiled.in_order(cells)

    def retained(
        self,
        cells: ZeroCells,
        corner: Int64[Tensor, "m"],
        holds: Bool[Tensor, "v"],
        positions: Float64[Tensor, "v 3"],
    ) -> tuple[ZeroCells, Int32[Tensor, "k words"], Float64[Tensor, "k 3"]]:
        """As in :class:`ZeroCellSolver`."""
        return cells_compiled.retained(cells, corner, holds, positions)

    def _polygons(
        self, plus_bits: Int32[Tensor, "n words"], base: Float64[Tensor, "n 3"]
    ) -> Outlines:
        count, regions = len(plus_bits), self._regions(plus_bits, base)
        of_polygons = np.empty(count, np.int64), np.empty(count, np.int64), np.empty((count, 3))
        size = ROOM * (count + SMALL)
        while True:
            found = np.empty(size, np.int64), np.empty((size, 3))
            room = kernels.OutlineRoom(*of_polygons, *found)
            given = self._net, regions, self._settings, room
            if all(in_parts(kernels.walk_polygons, count, SMALL, *given)):
                break
            size *= 2
        offsets = np.concatenate([[0], np.cumsum(room.counts)])
        total = int(offsets[-1])
        outlines = np.empty(total, np.int64), np.empty(total, np.bool_), np.empty((total, 3))
        to_gather = regions, self._turning, room, offsets, outlines
        in_parts(kernels.gather_outlines, count, SMALL, *to_gather)
        constraints, is_plus, corners = (torch.from_numpy(part) for part in outlines)
        return Outlines(
            torch.from_numpy(room.counts),
            torch.from_numpy(room.slopes),
            constraints,
            corners,
            int((room.counts == 0).sum()),
            is_plus,
        )

    def _regions(
        self, plus_bits: Int32[Tensor, "n words"], points: Float64[Tensor, "n 3"]
    ) -> kernels.Regions:
        signs = plus_bits.numpy().view(np.uint32), points.numpy()
        if self.simplices is None:
            return kernels.Regions(*signs, np.empty((4, 0, 3)), np.empty((4, 0, 6)))
        maps = self.simplices.maps(plus_bits, points)
        return kernels.Regions(*signs, *(part.contiguous().numpy() for part in maps))

    def solve_vertices(
        self,
        vertices: Float64[Tensor, "v 3"],
        zeros: Int64[Tensor, "v 3"],
        plus_bits: Int32[Tensor, "v words"],
        outputs_in: torch.dtype | None = None,
    ) -> Solved:
        """As in :class:`ZeroCellSolver`."""
        count = len(vertices)
        regions = self._regions(plus_bits, vertices)
        has_outputs = outputs_in is not None and self.simplices is None
        margins = kernels.Margins(self.size.numpy(), MARGIN_ULPS * kernels.EPS)
        room = kernels.SolvedRoom(
            np.empty((count, 3)),
            np.empty(count, np.bool_),
            np.empty((count, 3, 3)),
            np.empty(
                (count, self.num_hidden if has_outputs else 0),
                np.float32 if outputs_in == torch.float32 else np.float64,
            ),
        )
        order = in_sign_order(regions.plus_bits, self._net.words)
        given = self._net, regions, (zeros.numpy(), order), margins, room
        in_parts(kernels.solve_vertices, count, SMALL, *given)
        return Solved(*(torch.from_numpy(part) for part in room))
