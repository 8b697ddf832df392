"""Polygons of labelled triangles, by hand."""

from itertools import pairwise

import numpy as np

from shapeopt.extraction.halfspaces.polygons import faces_of
from shapeopt.extraction.halfspaces.union import LabelledTriangles

CUBE = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
NORMALS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1.0]])


def test_a_vertex_on_a_straight_edge_is_no_corner():
    """A cube with a ninth vertex in the middle of an edge, as a boolean library may leave one."""
    vertices = np.vstack([CUBE, [0.0, 0.0, 0.5]])
    triangles, planes = [], []
    for plane, side in enumerate(SIDES):
        around = list(side)
        for i in range(4):
            if {side[i], side[(i + 1) % 4]} == {0, 1}:
                around.insert(i + 1, 8)
        # Fans from a corner that is not on the long edge, so that no triangle is flat.
        start = next(i for i, v in enumerate(around) if v not in (0, 1, 8))
        around = around[start:] + around[:start]
        for second, third in pairwise(around[1:]):
            triangles.append([around[0], second, third])
            planes.append(plane)
    mesh = LabelledTriangles(vertices, np.array(triangles), np.array(planes))
    faces = faces_of(mesh, NORMALS)
    assert sorted(faces.planes) == [0, 1, 2, 3, 4, 5]
    assert [len(loop) for loop in faces.loops] == [4] * 6
    assert faces.split == 0
