"""Edge subdivision as an extractor of surfaces."""

from dataclasses import dataclass

from torch import nn

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import InputError
from shapeopt.extraction.condition import Conditioned
from shapeopt.extraction.extractor import Backend, Extractor, check_backend, is_compiled
from shapeopt.extraction.finish import finish
from shapeopt.extraction.progress import Progress
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tolerances import consistently
from shapeopt.networks.affine import without_graph


@dataclass(frozen=True)
class Subdivision(Extractor):
    """Builds the complex, leaving out what is proven free of zeros, and misses nothing.

    Attributes:
        cap: in 3D, add the parts of the box's own faces where f < 0, so that a shape that leaves
            the box still bounds a solid.
        all_folds: cut the surface by the folds that do not bend f, too.
        max_bytes: memory to hold at most; most of what the device has free if None.
        progress: called after each neuron with its layer, its place there, and the vertices so far.
        backend: see :data:`shapeopt.extraction.extractor.Backend`.

    Raises:
        InputError: for ``max_bytes`` below 1, or a backend that does not exist.
    """

    cap: bool = False
    all_folds: bool = False
    max_bytes: int | None = None
    progress: Progress | None = None
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if self.max_bytes is not None and self.max_bytes < 1:
            raise InputError(f"Subdivision: max_bytes is {self.max_bytes}; it must be at least 1")
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
        constant = without_graph(layers)
        compiled = is_compiled(self.backend, box.lower.device)

        def surface(ulps: int) -> PolyhedralSurface:
            skeleton = subdivide(
                constant,
                box,
                surface_only=not self.cap,
                max_bytes=self.max_bytes,
                progress=self.progress,
                backend=self.backend,
                ulps=ulps,
            )
            found = zero_set(constant, box, skeleton, cap=self.cap, compiled=compiled)
            return finish(layers, box, found, all_folds=self.all_folds, compiled=compiled)

        return consistently(surface)
