"""Fewer polygons for a finished training: ``shapeopt simplify CHECKPOINT OUT``."""

import math
from pathlib import Path

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import check_suffix, write_mesh
from shapeopt.output.terminal import show
from shapeopt.output.waiting import EXTRACTING, told
from shapeopt.simplify.merging import merge_polygons
from shapeopt.training.checkpoints import extract_checkpoint


def run(checkpoint: Path, output: Path, error: float = 1e-3, triangles: bool = False) -> None:
    """Merges, writes and prints.

    Args:
        checkpoint: of a training.
        output: the mesh; its suffix is the format, see :func:`shapeopt.output.export.write_mesh`.
        error: largest distance between the surface before and after, fraction of its longest side.
        triangles: write triangles in place of polygons.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
        OSError: if the mesh cannot be written.
    """
    check_suffix(output)
    if not 0 <= error < math.inf:
        raise InputError(f"--error is {error:g}; it must be 0 or a fraction of the longest side")
    with told(EXTRACTING):
        surface, saved = extract_checkpoint(checkpoint)
    side = float((surface.vertices.amax(dim=0) - surface.vertices.amin(dim=0)).max())
    with told(f"merging {surface.num_faces:,} polygons ..."):
        merged = merge_polygons(surface, error * side)
    shape: PolygonMesh = saved.normalisation.undo_mesh(merged)
    if triangles:
        shape = PolygonMesh.from_polygons(shape.vertices, merged.triangles().tolist())
    with told(f"writing {shape.num_faces:,} polygons ..."):
        write_mesh(shape, output)
    show(
        f"{surface.num_faces:,} polygons before, {merged.num_faces:,} after "
        f"({len(merged.triangles()):,} triangles), at most {error:g} of the longest side apart; "
        f"in {output}"
    )
