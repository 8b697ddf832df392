"""Fewer polygons for a finished training: ``shapeopt simplify CHECKPOINT OUT.ply``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shapeopt.errors import ExtractionError, InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import write_ply
from shapeopt.simplify.merging import merge_polygons
from shapeopt.training.checkpoints import extract_checkpoint


def main(arguments: Sequence[str] | None = None) -> None:
    """Merges, writes and prints; errors that a user can mend end it with one line."""
    parser = argparse.ArgumentParser(
        prog="shapeopt simplify",
        description="Merges nearly coplanar neighbouring polygons of a checkpoint's surface, and "
        "writes them as a PLY file in the units of the training's input.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path)
    parser.add_argument("out", metavar="OUT.ply", type=Path)
    parser.add_argument(
        "--error",
        type=float,
        default=1e-3,
        help="largest distance between the surface before and after, fraction of its longest side",
    )
    parser.add_argument(
        "--triangles", action="store_true", help="write triangles in place of polygons"
    )
    options = parser.parse_args(arguments)
    try:
        if options.out.suffix != ".ply":
            raise InputError(f"{options.out}: the output must be a .ply file")
        surface, saved = extract_checkpoint(options.checkpoint)
        side = float((surface.vertices.amax(dim=0) - surface.vertices.amin(dim=0)).max())
        merged = merge_polygons(surface, options.error * side)
        shape: PolygonMesh = saved.normalisation.undo_mesh(merged)
        if options.triangles:
            shape = PolygonMesh.from_polygons(shape.vertices, merged.triangles().tolist())
        write_ply(shape, options.out)
    except (InputError, ExtractionError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{surface.num_faces:,} polygons before, {merged.num_faces:,} after "
        f"({len(merged.triangles()):,} triangles), at most {options.error:g} of the longest side "
        f"apart; in {options.out}"
    )


if __name__ == "__main__":
    main()
