"""Fewer polygons for a finished training: ``shapeopt simplify CHECKPOINT -o out.ply``."""

import math
from pathlib import Path

from shapeopt.errors import InputError
from shapeopt.mesh.certificate import certify
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.certified import write_certified
from shapeopt.output.export import check_suffix, pieces_note
from shapeopt.output.terminal import show
from shapeopt.output.waiting import EXTRACTING, told
from shapeopt.simplify.merging import merge_polygons, merge_to_count
from shapeopt.training.checkpoints import extract_checkpoint

ERROR = 1e-3
"""Fraction of the longest side, where neither an error nor a number of faces is given."""


def run(
    checkpoint: Path,
    output: Path,
    error: float | None = None,
    faces: int | None = None,
    triangles: bool = False,
) -> None:
    """Merges, writes and prints.

    Args:
        checkpoint: of a training.
        output: the mesh; its suffix is the format, see :func:`shapeopt.output.export.write_mesh`.
            A certificate of what was checked goes beside it, as JSON.
        error: largest distance between the surface before and after, fraction of its longest side;
            1e-3 if neither it nor ``faces`` is given.
        faces: polygons to be left, in place of an error.
        triangles: write triangles in place of polygons.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
        OSError: if the mesh cannot be written.
    """
    check_suffix(output)
    if error is not None and not 0 <= error < math.inf:
        raise InputError(f"--error is {error:g}; it must be 0 or a fraction of the longest side")
    with told(EXTRACTING):
        surface, saved = extract_checkpoint(checkpoint)
    side = float((surface.vertices.amax(dim=0) - surface.vertices.amin(dim=0)).max())
    with told(f"merging {surface.num_faces:,} polygons ..."):
        if faces is None:
            reached = ERROR if error is None else error
            merged = merge_polygons(surface, reached * side)
        else:
            merged, length = merge_to_count(surface, faces)
            reached = length / side
    shape: PolygonMesh = saved.normalisation.undo_mesh(merged)
    if triangles:
        shape = PolygonMesh.from_polygons(shape.vertices, merged.triangles().tolist())
    certificate = certify(shape)
    with told(f"writing {shape.num_faces:,} polygons ..."):
        beside = write_certified(shape, certificate, 1.0, output)
    show(
        f"{surface.num_faces:,} polygons before, {merged.num_faces:,} after "
        f"({len(merged.triangles()):,} triangles), at most {reached:.3g} of the longest side apart"
    )
    show(certificate.summary())
    if note := pieces_note(shape, output):
        show(note)
    show(f"in {output}, and what was checked in {beside.name}")
    if faces is not None and merged.num_faces > faces:
        show(
            f"{faces:,} polygons were asked for: no two of the {merged.num_faces:,} that are left "
            "can become one without overlapping itself"
        )
