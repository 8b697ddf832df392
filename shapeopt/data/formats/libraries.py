"""Formats that other libraries read: 3MF by trimesh, LAS and LAZ by laspy."""

from pathlib import Path
from typing import Any

import numpy as np

from shapeopt.data.formats.raw import Polygons, RawCloud, cloud_or_mesh
from shapeopt.errors import InputError


def read_3mf(path: Path) -> RawCloud:
    """All triangles of a model, each in its place.

    Raises:
        InputError: damaged, or a package that reads 3MF is not installed.
    """
    import trimesh

    try:
        # process=False: vertices as they are in the file, none merged or dropped.
        scene: Any = trimesh.load_scene(path, process=False)
        parts = [(scene.geometry[name], matrix) for matrix, name in _places(scene)]
    except ImportError as error:
        raise InputError(
            f"needs more packages: pip install 'shapeopt[formats]' ({error})"
        ) from None
    except Exception as error:  # trimesh lets through whatever its parsers stumble over
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    vertices, triangles, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
    for mesh, matrix in parts:
        points, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
        _check(faces, len(points))
        if np.linalg.det(matrix[:3, :3]) < 0:  # mirrored: the other way round
            faces = faces[:, ::-1]
        triangles.append(faces + count)
        vertices.append(points @ matrix[:3, :3].T + matrix[:3, 3])
        count += len(points)
    return cloud_or_mesh(np.concatenate(vertices), Polygons.of_triangles(np.concatenate(triangles)))


def _check(faces: np.ndarray, count: int) -> None:
    """Before the numbers are moved behind those of other parts."""
    if len(faces) and not 0 <= faces.min() <= faces.max() < count:
        raise InputError("a face names a vertex that is not there; damaged or cut short?")


def _places(scene: Any) -> list[tuple[np.ndarray, str]]:
    """A matrix and the name of a geometry for each node that has one."""
    return [scene.graph[node] for node in scene.graph.nodes_geometry]


def read_las(path: Path) -> RawCloud:
    """A cloud, each point in its place in the map.

    Raises:
        InputError: damaged, or laspy is not installed.
    """
    try:
        import laspy
    except ImportError:
        raise InputError("needs laspy: pip install 'shapeopt[formats]'") from None
    try:
        with laspy.open(path) as file:
            promised = file.header.point_count
            if promised * file.header.point_format.size > 100 * path.stat().st_size:
                raise InputError(f"the header promises {promised} points; damaged or cut short?")
            points = np.array(file.read().xyz, np.float64)
    except InputError:
        raise
    except BaseException as error:  # laspy lets through what its parsers stumble over
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    if len(points) != promised:
        raise InputError(f"cut short: the header promises {promised} points, {len(points)} came")
    return cloud_or_mesh(points, Polygons.of([]))
