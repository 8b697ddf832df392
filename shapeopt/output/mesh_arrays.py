"""A mesh in numpy arrays, as files and pictures want it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh


class MeshArrays(NamedTuple):
    """The arrays of a surface in numpy, off the graph and off the device.

    Polygon i has the corners `corners[offsets[i]:offsets[i + 1]]`, and two fewer triangles than
    corners.
    """

    vertices: Float[np.ndarray, "v 3"]
    edges: Int[np.ndarray, "e 2"]
    offsets: Int[np.ndarray, " f_plus_1"]
    corners: Int[np.ndarray, " n"]
    triangle_vertices: Int[np.ndarray, "t 3"]

    @property
    def sizes(self) -> Int[np.ndarray, " f"]:
        """Number of corners of each polygon."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Int[np.ndarray, " n"]:
        """The polygon that each corner belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.sizes)

    @property
    def is_closed(self) -> bool:
        """Whether each edge lies between two polygons, so that no hole shows the inside."""
        return len(self.corners) == 2 * len(self.edges)

    def normals(self) -> Float[np.ndarray, "f 3"]:
        """Unit normals of the polygons, outward; zero for one without area."""
        points = self.vertices[self.corners]
        following = np.arange(1, len(points) + 1)
        following[self.offsets[1:] - 1] = self.offsets[:-1]
        # Measured from a corner of its own polygon: far from the origin nothing cancels.
        origin = points[self.offsets[:-1]][self.owners]
        twice_area = np.cross(points - origin, points[following] - origin)
        total = np.zeros((len(self.offsets) - 1, 3))
        np.add.at(total, self.owners, twice_area)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return total / np.where(length > 0, length, 1)

    def triangles(self) -> tuple[Int[np.ndarray, "t 3"], Int[np.ndarray, " t"]]:
        """The surface's triangles: positions in `corners` (not vertices), and their polygons."""
        faces = np.repeat(np.arange(len(self.sizes)), self.sizes - 2)
        names = self.owners * len(self.vertices) + self.corners
        wanted = faces[:, None] * len(self.vertices) + self.triangle_vertices
        order = np.argsort(names)
        return order[np.searchsorted(names[order], wanted)], faces


def mesh_arrays(surface: PolygonMesh) -> MeshArrays:
    """Copy a surface into numpy.

    Args:
        surface: the surface, in 3D; its vertices may be on any device and need gradients.

    Raises:
        InputError: the surface is a polyline in 2D, or a vertex is not finite.
    """
    if surface.vertices.shape[1] != 3:
        raise InputError("Only surfaces in 3D can be written or drawn; this one is a polyline.")
    edges, offsets, corners, triangles = (
        tensor.detach().cpu().numpy()
        for tensor in (
            surface.edges,
            surface.face_offsets,
            surface.face_vertices,
            surface.triangles(),
        )
    )
    vertices = surface.vertices.detach().cpu().double().numpy()
    if not np.isfinite(vertices).all():
        raise InputError("The surface has vertices that are not finite numbers.")
    return MeshArrays(vertices, edges, offsets, corners, triangles)
