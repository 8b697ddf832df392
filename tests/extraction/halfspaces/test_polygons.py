"""Polygons of labelled triangles, by hand."""

from itertools import pairwise

import numpy as np
import pytest
import trimesh

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


def test_a_face_with_a_hole_is_cut():
    """A cube on the middle of a larger one's top, whose face is a square with a square hole."""
    pytest.importorskip("manifold3d")
    upper = CUBE * 0.5 + [0.25, 0.25, 1.0]
    vertices = np.vstack([CUBE, upper])
    large, top = np.array([SIDES[i] for i in (0, 1, 2, 3, 4)]), np.array(SIDES[5])
    small = 8 + np.array([SIDES[i] for i in (0, 1, 2, 3, 5)])
    around, hole = top, 8 + np.array(SIDES[4])[[0, 3, 2, 1]]
    ring = [[around[i - 1], around[i], hole[i], hole[i - 1]] for i in range(4)]
    squares = np.vstack([large, ring, small])
    planes = np.repeat([0, 1, 2, 3, 4, *[5] * 4, 6, 7, 8, 9, 10], 2)
    triangles = squares[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    normals = NORMALS[[*range(6), 0, 1, 2, 3, 5]]
    solid = trimesh.Trimesh(vertices, triangles)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(1 + 1 / 8)

    faces = faces_of(LabelledTriangles(vertices, triangles, planes), normals)
    assert faces.split == 1
    pieces = [loop for loop, plane in zip(faces.loops, faces.planes, strict=True) if plane == 5]
    assert len(pieces) == 2
    assert len(faces.loops) == 10 + len(pieces)
    assert all(len(set(loop)) == len(loop) for loop in pieces)
    assert sum(area(vertices[loop]) for loop in pieces) == pytest.approx(1 - 1 / 4)


def area(corners: np.ndarray) -> float:
    """Of a polygon seen from above."""
    x, y = corners[:, 0], corners[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
