"""The exact surface of a training or a network as a mesh: ``shapeopt extract FILE -o mesh.ply``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from shapeopt.commands.sources import Source, open_source
from shapeopt.errors import InputError
from shapeopt.extraction.certificate import certify_surface
from shapeopt.extraction.extract import METHODS, extract_complex
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.subdivision import Subdivision
from shapeopt.extraction.tracing import Tracing
from shapeopt.output.certified import write_certified
from shapeopt.output.export import check_suffix, pieces_note
from shapeopt.output.terminal import show
from shapeopt.output.vtu import write_vtu
from shapeopt.output.waiting import CHECKING, EXTRACTING, told

CELLS = ".vtu"
"""Suffix of the file that has all cells of the complex, in place of the surface alone."""


def run(
    source: Path,
    output: Path,
    method: str | None = None,
    seeds: int | None = None,
    dtype: str | None = None,
    blocks: int | None = None,
    processes: int | None = None,
    cap: bool = False,
    **of_network: Any,
) -> None:
    """Extracts, writes and prints.

    Args:
        source: a checkpoint of a training, or a network of :func:`shapeopt.load_network`.
        output: the mesh; its suffix is the format, see :func:`shapeopt.output.export.write_mesh`.
            A certificate of what was checked goes beside it, as JSON. Or a .vtu for all cells.
        method: a key of :data:`METHODS`; None for subdivision.
        seeds: cells along a side of the grid that tracing starts from.
        dtype: to compute with, "float32" or "float64"; None as in the training or the network.
        blocks: that subdivision cuts the box into along each side; None as in the training.
        processes: that work on blocks at a time; None for one.
        cap: close the surface with the box where it leaves it.
        of_network: settings that only a network has, see :func:`open_source`.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
        OSError: if the mesh cannot be written.
    """
    cells = output.suffix.lower() == CELLS
    given = {"blocks": blocks, "processes": processes, "cap": cap or None}
    settings = {name: value for name, value in given.items() if value is not None}
    if cells and (method is not None or settings):
        raise InputError(
            f"--method, --blocks and --cap are for the surface; {output} gets all cells"
        )
    check_suffix(output, CELLS)
    opened = open_source(source, _extractor(method, seeds), dtype, **of_network)
    if settings:
        opened = _with_settings(opened, settings)
    if cells:
        _write_cells(opened, output)
    else:
        _write_surface(opened, output)


def _with_settings(source: Source, settings: dict[str, Any]) -> Source:
    """The source with some settings of its subdivision."""
    if not isinstance(source.extractor, Subdivision):
        raise InputError(
            "--blocks, --processes and --cap are settings of subdivision, and this surface is to "
            "be traced"
        )
    return replace(source, extractor=replace(source.extractor, **settings))


def _write_surface(source: Source, output: Path) -> None:
    with told(EXTRACTING):
        surface = source.surface()
    with told(CHECKING):
        certificate = certify_surface(source.network, surface, source.extractor)
    mesh = source.normalisation.undo_mesh(surface)
    with told(f"writing {mesh.num_faces:,} polygons ..."):
        beside = write_certified(mesh, certificate, source.unit, output)
    show(
        f"{mesh.num_vertices:,} vertices, {mesh.num_edges:,} edges, "
        f"{mesh.num_faces:,} polygons, Euler characteristic {mesh.euler_characteristic}\n"
        f"{certificate.summary(source.unit)}"
    )
    if not mesh.is_closed:
        closing = "; --cap closes it there" if isinstance(source.extractor, Subdivision) else ""
        show(f"it is open where it leaves the box{closing}")
    if note := pieces_note(mesh, output):
        show(note)
    show(f"in {output}, and what was checked in {beside.name}")


def _write_cells(source: Source, output: Path) -> None:
    with told("extracting all cells ..."), torch.no_grad():
        whole = extract_complex(source.network, source.bounds, dtype=source.dtype)
    counts = whole.num_cells
    with told(f"writing {sum(counts[1:]):,} cells ..."):
        write_vtu(whole, output, source.normalisation.undo)
    show(
        f"{counts[0]:,} vertices, {counts[1]:,} edges, {counts[2]:,} polygons, "
        f"{counts[3]:,} regions\nin {output}"
    )


def _extractor(method: str | None, seeds: int | None) -> Extractor | None:
    if seeds is not None:
        if method != "trace":
            raise InputError("--seeds is a setting of tracing; give --method trace as well")
        return Tracing(seeds=seeds)
    return METHODS[method]() if method is not None else None
