"""The exact surface of a training as a mesh file: ``shapeopt extract CHECKPOINT -o mesh.ply``."""

from pathlib import Path
from typing import Any

from shapeopt.commands.waiting import EXTRACTING, told
from shapeopt.errors import InputError
from shapeopt.extraction.extract import METHODS
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.tracing import Tracing
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import write_glb, write_ply, write_whole
from shapeopt.training.checkpoints import extract_checkpoint

SUFFIXES = (".ply", ".glb", ".obj", ".stl")


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
        output: the mesh, .ply, .glb, .obj or .stl.
        method: a key of :data:`METHODS`; None as in the training.
        seeds: cells along a side of the grid that tracing starts from.
        dtype: to compute with, "float32" or "float64"; None as in the training.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
        OSError: if the mesh cannot be written.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output}: the output must be a {', '.join(SUFFIXES)} file")
    extractor = _extractor(method, seeds)
    with told(EXTRACTING):
        surface, saved = extract_checkpoint(checkpoint, extractor, dtype)
    _write(saved.normalisation.undo_mesh(surface), output)
    print(
        f"{surface.num_vertices:,} vertices, {surface.num_edges:,} edges, "
        f"{surface.num_faces:,} polygons, {'closed' if surface.is_closed else 'not closed'}, "
        f"Euler characteristic {surface.euler_characteristic}; in {output}"
    )


def _extractor(method: str | None, seeds: int | None) -> Extractor | None:
    if seeds is not None:
        if method != "trace":
            raise InputError("--seeds is a setting of tracing; give --method trace as well")
        return Tracing(seeds=seeds)
    return METHODS[method]() if method is not None else None


def _write(mesh: PolygonMesh, path: Path) -> None:
    """Polygons where the kind of file can hold them, else triangles."""
    suffix = path.suffix.lower()
    if suffix in (".ply", ".glb"):
        (write_ply if suffix == ".ply" else write_glb)(mesh, path)
        return
    data: Any = mesh.to_trimesh().export(file_type=suffix[1:])
    write_whole(path, data.encode() if isinstance(data, str) else data)
