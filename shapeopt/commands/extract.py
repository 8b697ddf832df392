"""The exact surface of a training as a mesh file: ``shapeopt extract CHECKPOINT -o mesh.ply``."""

from pathlib import Path

from omegaconf import OmegaConf

from shapeopt.commands.waiting import EXTRACTING, told
from shapeopt.errors import InputError
from shapeopt.extraction.certificate import certify_surface
from shapeopt.extraction.extract import METHODS
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.tracing import Tracing
from shapeopt.output.certified import write_certified
from shapeopt.output.export import check_suffix
from shapeopt.output.terminal import show
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint
from shapeopt.training.config import exporting_extractor


def run(
    checkpoint: Path,
    output: Path,
    method: str | None = None,
    seeds: int | None = None,
    dtype: str | None = None,
) -> None:
    """Extracts, writes and prints.

    Args:
        checkpoint: of a training.
        output: the mesh; its suffix is the format, see :func:`shapeopt.output.export.write_mesh`.
            A certificate of what was checked goes beside it, as JSON.
        method: a key of :data:`METHODS`; None for subdivision.
        seeds: cells along a side of the grid that tracing starts from.
        dtype: to compute with, "float32" or "float64"; None as in the training.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
        OSError: if the mesh cannot be written.
    """
    check_suffix(output)
    saved = Checkpoint.load(checkpoint)
    extractor = _extractor(method, seeds) or exporting_extractor(OmegaConf.create(saved.config))
    with told(EXTRACTING):
        surface, saved = extract_checkpoint(checkpoint, extractor, dtype)
    certificate = certify_surface(saved.rebuilt_network(), surface, extractor)
    unit = 1 / saved.normalisation.scale
    mesh = saved.normalisation.undo_mesh(surface)
    beside = write_certified(mesh, certificate, unit, output)
    show(
        f"{surface.num_vertices:,} vertices, {surface.num_edges:,} edges, "
        f"{surface.num_faces:,} polygons, Euler characteristic {surface.euler_characteristic}\n"
        f"{certificate.summary(unit)}\nin {output}, and what was checked in {beside.name}"
    )


def _extractor(method: str | None, seeds: int | None) -> Extractor | None:
    if seeds is not None:
        if method != "trace":
            raise InputError("--seeds is a setting of tracing; give --method trace as well")
        return Tracing(seeds=seeds)
    return METHODS[method]() if method is not None else None
