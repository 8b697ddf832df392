"""The exact surface of a training or a network as a mesh: ``shapeopt extract FILE -o mesh.ply``."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from shapeopt.commands.waiting import EXTRACTING, told
from shapeopt.complex.box import Bounds
from shapeopt.errors import InputError
from shapeopt.extraction.certificate import SurfaceCertificate, certify_surface
from shapeopt.extraction.extract import METHODS, extract_surface
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.subdivision import Subdivision
from shapeopt.extraction.tracing import Tracing
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.networks import load_network
from shapeopt.networks.loading import is_script
from shapeopt.networks.views import LevelSet
from shapeopt.output.certified import write_certified
from shapeopt.output.export import check_suffix
from shapeopt.output.terminal import show
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint
from shapeopt.training.config import exporting_extractor

NETWORKS = (".onnx", ".npz", ".safetensors")
"""Suffixes of files that are no checkpoints."""


def run(
    source: Path,
    output: Path,
    method: str | None = None,
    seeds: int | None = None,
    dtype: str | None = None,
    **of_network: Any,
) -> None:
    """Extracts, writes and prints.

    Args:
        source: a checkpoint of a training, or a network of :func:`shapeopt.load_network`.
        output: the mesh; its suffix is the format, see :func:`shapeopt.output.export.write_mesh`.
            A certificate of what was checked goes beside it, as JSON.
        method: a key of :data:`METHODS`; None for subdivision.
        seeds: cells along a side of the grid that tracing starts from.
        dtype: to compute with, "float32" or "float64"; None as in the training or the network.
        of_network: settings that only a network has, see :func:`_of_network`; None if not given.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
        OSError: if the mesh cannot be written.
    """
    check_suffix(output)
    extractor = _extractor(method, seeds)
    given = {name: value for name, value in of_network.items() if value is not None}
    if given or source.suffix.lower() in NETWORKS or is_script(source):
        mesh, certificate, unit = _of_network(source, extractor or Subdivision(), dtype, **given)
    else:
        mesh, certificate, unit = _of_checkpoint(source, extractor, dtype)
    beside = write_certified(mesh, certificate, unit, output)
    show(
        f"{mesh.num_vertices:,} vertices, {mesh.num_edges:,} edges, "
        f"{mesh.num_faces:,} polygons, Euler characteristic {mesh.euler_characteristic}\n"
        f"{certificate.summary(unit)}\nin {output}, and what was checked in {beside.name}"
    )


def _of_checkpoint(
    path: Path, extractor: Extractor | None, dtype: str | None
) -> tuple[PolygonMesh, SurfaceCertificate, float]:
    """The mesh in the units of the training's input, and how long one unit of it is in those."""
    saved = Checkpoint.load(path)
    extractor = extractor or exporting_extractor(OmegaConf.create(saved.config))
    with told(EXTRACTING):
        surface, saved = extract_checkpoint(path, extractor, dtype)
    certificate = certify_surface(saved.rebuilt_network(), surface, extractor)
    return saved.normalisation.undo_mesh(surface), certificate, 1 / saved.normalisation.scale


def _of_network(
    path: Path,
    extractor: Extractor,
    dtype: str | None,
    bounds: list[float] | None = None,
    level: float = 0.0,
    index: int | None = None,
    architecture: str | None = None,
) -> tuple[PolygonMesh, SurfaceCertificate, float]:
    """The surface of a network from a file.

    Args:
        path: of the network.
        extractor: that makes the surface.
        dtype: to compute with; the network's if None.
        bounds: of the box: two numbers for all axes, or the lower corner and the upper one;
            -0.5 and 0.5 if None.
        level: the surface is where the network has this value.
        index: of the output, if there are several.
        architecture: of a network that is given by its weights alone.
    """
    network = load_network(path, architecture=architecture)
    view = LevelSet(network, index, level)
    kind = getattr(torch, dtype) if dtype else None
    with told(EXTRACTING), torch.no_grad():
        surface = extract_surface(view, _corners(bounds), extractor=extractor, dtype=kind)
    return surface, certify_surface(view, surface, extractor), 1.0


def _corners(bounds: list[float] | None) -> Bounds:
    bounds = bounds or [-0.5, 0.5]
    if len(bounds) not in (2, 6):
        raise InputError(
            f"--bounds has {len(bounds)} numbers; give the lower and the upper one, or the three "
            "of the lower corner and then those of the upper one"
        )
    half = len(bounds) // 2
    return bounds if half == 1 else (bounds[:half], bounds[half:])


def _extractor(method: str | None, seeds: int | None) -> Extractor | None:
    if seeds is not None:
        if method != "trace":
            raise InputError("--seeds is a setting of tracing; give --method trace as well")
        return Tracing(seeds=seeds)
    return METHODS[method]() if method is not None else None
