"""Faces whose fans at the first corner are inside their polygons."""

import itertools

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import pieces_note, write_mesh
from shapeopt.output.fans import right_fans
from shapeopt.output.grouped_obj import write_grouped_obj
from shapeopt.output.mesh_arrays import mesh_arrays
from tests.output.meshes import cube, prism
from tests.solids import polygons_of, prism_solid

L = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]
COMB = [(0, 0), (7, 0), (7, 3), (6, 3), (5, 1), (4, 1), (4, 3), (3, 3), (2, 1), (1, 3), (0, 3)]


def solid(profile, start):
    """A prism on a profile whose corners are counted from one of them."""
    return prism_solid([*profile[start:], *profile[:start]]).detach()


def fan_volume(mesh):
    """Of the triangles that a program makes at first corners, and whether none is turned over."""
    arrays, owners = right_fans(mesh_arrays(mesh))
    volume, upright, normals = 0.0, True, mesh.face_normals.numpy()
    for start, stop, owner in zip(arrays.offsets, arrays.offsets[1:], owners, strict=False):
        first, *others = arrays.vertices[arrays.corners[start:stop]]
        for one, two in itertools.pairwise(others):
            volume += first @ np.cross(one, two) / 6
            upright &= np.cross(one - first, two - first) @ normals[owner] > 0
    return volume, upright


@pytest.mark.parametrize(("profile", "area"), [(L, 3.0), (COMB, None)], ids=["L", "comb"])
def test_fans_are_right_wherever_a_polygon_starts(profile, area):
    for start in range(len(profile)):
        mesh = solid(profile, start)
        volume, upright = fan_volume(mesh)
        assert volume == pytest.approx(float(mesh.volume()))
        assert area is None or volume == pytest.approx(area)
        assert upright


def test_an_l_starts_at_its_inner_corner_and_a_comb_is_in_few_pieces():
    arrays, _ = right_fans(mesh_arrays(solid(L, 1)))
    assert len(arrays.sizes) == 8
    assert arrays.vertices[arrays.corners[0]].tolist() == [1, 0, 1]
    arrays, owners = right_fans(mesh_arrays(solid(COMB, 0)))
    assert 1 < (owners == 0).sum() <= 5


def test_corners_in_a_line_make_no_triangle_without_area():
    """The middles of a triangle's sides are corners, too; only from them no triangle is flat."""
    profile = [(0, 0), (1, 0), (2, 0), (1, 1), (0, 2), (0, 1)]
    assert fan_volume(solid(profile, 0)) == (pytest.approx(2), True)


def test_convex_polygons_stay_as_they_are():
    for mesh in (prism(7), cube(1).detach()):
        arrays, owners = right_fans(mesh_arrays(mesh))
        assert owners.tolist() == list(range(mesh.num_faces))
        np.testing.assert_array_equal(arrays.corners, mesh.face_vertices)
        assert pieces_note(mesh, "a.ply") is None


def test_a_polygon_without_area_is_kept():
    flat = PolygonMesh.from_polygons(torch.zeros(4, 3), [[0, 1, 2, 3]])
    arrays, _ = right_fans(mesh_arrays(flat))
    assert arrays.corners.tolist() == polygons_of(flat)[0]


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_another_program_reads_a_closed_right_solid(tmp_path, suffix):
    mesh = solid(COMB, 0)
    paths = [write_mesh(mesh, tmp_path / f"a{suffix}")]
    if suffix == ".obj":
        paths.append(write_grouped_obj(mesh, ["part"] * mesh.num_faces, tmp_path / "b.obj"))
    for path in paths:
        read = trimesh.load(path, force="mesh")
        assert read.is_watertight
        assert read.volume == pytest.approx(float(mesh.volume()))
        assert read.area == pytest.approx(float(mesh.area()))
    assert "faces: polygons that are not convex" in pieces_note(mesh, paths[0])
    assert pieces_note(mesh, "a.stl") is None
