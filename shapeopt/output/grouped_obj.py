"""Write polygons to a Wavefront OBJ file, in named groups."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.fans import right_fans
from shapeopt.output.files import write_whole
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.ply import vertex_lines


def write_grouped_obj(
    surface: PolygonMesh, groups: Sequence[str], path: str | os.PathLike[str]
) -> Path:
    """Write polygons as faces, below the names of their groups; see `shapeopt.output.fans`.

    Args:
        surface: in 3D, on any device.
        groups: a name for each polygon, without spaces. A group's polygons come together, groups
            in the order in which they first appear.
        path: where to write. The file appears whole or not at all.

    Returns:
        The path written.

    Raises:
        InputError: the surface is a polyline in 2D, or a vertex is not finite.
        OSError: the file cannot be written.
    """
    mesh, owners = right_fans(mesh_arrays(surface))
    corners = list(map(str, (mesh.corners + 1).tolist()))
    faces: dict[str, list[str]] = {}
    for owner, (start, stop) in zip(owners, pairwise(mesh.offsets.tolist()), strict=True):
        faces.setdefault(groups[owner], []).append(f"f {' '.join(corners[start:stop])}\n")
    lines = ["# written by shapeopt\n", *(f"v {line}" for line in vertex_lines(mesh))]
    for group, members in faces.items():
        lines += [f"g {group}\n", *members]
    return write_whole(path, "".join(lines).encode())
