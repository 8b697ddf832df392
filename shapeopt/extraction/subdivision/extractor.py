"""Edge subdivision as an extractor of surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from shapeopt.complex.box import Box
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import InputError
from shapeopt.extraction.condition import Conditioned
from shapeopt.extraction.extractor import Backend, Extractor, check_backend, is_compiled
from shapeopt.extraction.finish import finish
from shapeopt.extraction.progress import Progress
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.blocks import zero_set_by_blocks
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tolerances import consistently
from shapeopt.networks.affine import AffineLayer, without_graph


@dataclass(frozen=True)
class Subdivision(Extractor):
    """Builds the complex, leaving out what is proven free of zeros, and misses nothing.

    Attributes:
        cap: in 3D, add the parts of the box's own faces where f < 0, so that a shape that leaves
            the box still bounds a solid.
        all_folds: cut the surface by the folds that do not bend f, too.
        max_bytes: memory to hold at most; most of what the device has free if None.
        progress: called after each neuron with its layer, its place there, and the vertices so far.
        blocks: cut the box into so many along each side, and hold the complex of one at a time. The
            mesh is the same.
        processes: that work on blocks at a time, on a CPU. A script that asks for several must do
            its work under ``if __name__ == "__main__":``.
        backend: see :data:`shapeopt.extraction.extractor.Backend`.

    Raises:
        InputError: for ``max_bytes``, ``blocks`` or ``processes`` below 1, several processes
            without blocks or with ``progress``, or a backend that does not exist.
    """

    cap: bool = False
    all_folds: bool = False
    max_bytes: int | None = None
    progress: Progress | None = None
    blocks: int = 1
    processes: int = 1
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if self.max_bytes is not None and self.max_bytes < 1:
            raise InputError(f"Subdivision: max_bytes is {self.max_bytes}; it must be at least 1")
        for name in ("blocks", "processes"):
            if getattr(self, name) < 1:
                raise InputError(f"Subdivision: {name} is {getattr(self, name)}; at least 1")
        if self.processes > 1 and (self.blocks == 1 or self.progress is not None):
            raise InputError("Subdivision: several processes need blocks > 1, and no progress")
        check_backend(self.backend)

    @property
    def is_complete(self) -> bool:
        """True: regions are left out only if they are proven free of zeros."""
        return True

    def surface_of(self, network: nn.Module, unit: Conditioned) -> PolyhedralSurface:
        """See :meth:`Extractor.surface_of`."""
        layers, box = unit.layers, unit.box
        if self.cap and box.dimension != 3:
            raise InputError("Subdivision: cap=True needs a network with 3 inputs")
        if self.processes > 1 and box.lower.device.type != "cpu":
            raise InputError("Subdivision: several processes work on a CPU alone")
        constant = without_graph(layers)
        compiled = is_compiled(self.backend, box.lower.device)

        def surface(ulps: int) -> PolyhedralSurface:
            found = self._cells(constant, box, ulps)
            return finish(
                layers,
                box,
                found,
                all_folds=self.all_folds,
                compiled=compiled,
                sums_in=unit.weights_in,
            )

        return consistently(surface)

    def _cells(self, layers: Sequence[AffineLayer], box: Box, ulps: int) -> ZeroSet:
        """The cells of the zero set as they lie."""
        options: dict[str, Any] = {
            "max_bytes": self.max_bytes,
            "progress": self.progress,
            "backend": self.backend,
            "ulps": ulps,
        }
        if self.blocks > 1:
            cut = self.blocks, self.processes
            return zero_set_by_blocks(layers, box, *cut, cap=self.cap, **options)
        skeleton = subdivide(layers, box, surface_only=True, cap=self.cap, **options)
        compiled = is_compiled(self.backend, box.lower.device)
        return zero_set(layers, box, skeleton, cap=self.cap, compiled=compiled)
