import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.errors import InputError
from shapeopt.output.export import check_suffix, write_mesh
from tests.output.meshes import FAR, cube, empty, prism, prism_volume
from tests.solids import polygons_of

TEXT = (".ply", ".obj", ".off")
ALL = (*TEXT, ".stl", ".glb")


def turned(polygon):
    """The same polygon with its smallest corner first."""
    start = int(np.argmin(polygon))
    return [*polygon[start:], *polygon[:start]]


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_another_program_reads_the_polygons(tmp_path, suffix):
    pymeshlab = pytest.importorskip("pymeshlab")
    surface = prism(7)
    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(str(write_mesh(surface, tmp_path / f"a{suffix}")))
    mesh = meshes.current_mesh()
    np.testing.assert_array_equal(mesh.vertex_matrix(), surface.vertices.numpy())
    read = [turned(polygon.tolist()) for polygon in mesh.polygonal_face_list()]
    assert sorted(read) == sorted(turned(polygon) for polygon in polygons_of(surface))


@pytest.mark.parametrize("suffix", [".off", ".stl"])
def test_another_program_reads_the_triangles(tmp_path, suffix):
    pymeshlab = pytest.importorskip("pymeshlab")
    surface = prism(7)
    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(str(write_mesh(surface, tmp_path / f"a{suffix}")))
    mesh = meshes.current_mesh()
    corners = mesh.vertex_matrix()[mesh.face_matrix()]
    expected = surface.vertices[surface.triangles()].numpy()
    np.testing.assert_allclose(corners, expected, rtol=0, atol=0 if suffix == ".off" else 1e-7)


@pytest.mark.parametrize("suffix", ALL)
def test_trimesh_reads_the_solid(tmp_path, suffix):
    mesh = trimesh.load(write_mesh(prism(7), tmp_path / f"a{suffix}"), force="mesh")
    mesh.merge_vertices(merge_norm=True)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(prism_volume(7), rel=1e-6)


@pytest.mark.parametrize("suffix", [*TEXT, ".glb"])
def test_far_from_the_origin_nothing_is_rounded(tmp_path, suffix):
    surface = prism(7).scaled_and_moved(1, FAR)
    with warnings.catch_warnings(action="error"):
        path = write_mesh(surface, tmp_path / f"a{suffix}")
    mesh = trimesh.load(path, force="mesh", process=False)
    assert mesh.area == pytest.approx(float(surface.area()), rel=1e-5)
    np.testing.assert_allclose(mesh.bounds[0], surface.vertices.amin(dim=0), rtol=0, atol=1e-6)


def test_stl_says_what_it_rounds(tmp_path):
    with pytest.warns(UserWarning, match="single precision.*up to 0.2"):
        write_mesh(prism(7).scaled_and_moved(1, FAR), tmp_path / "a.stl")
    with warnings.catch_warnings(action="error"):
        write_mesh(prism(7), tmp_path / "b.stl")


@pytest.mark.parametrize("suffix", [*TEXT, ".stl"])
def test_a_mesh_without_polygons_is_a_file_without_faces(tmp_path, suffix):
    assert trimesh.load(write_mesh(empty(), tmp_path / f"a{suffix}")).is_empty


def test_the_suffix_chooses_the_format(tmp_path):
    path = write_mesh(cube(), tmp_path / "new" / "A.PLY")
    assert path.read_bytes().startswith(b"ply\n")
    assert check_suffix("a.b.Stl") == ".stl"


@pytest.mark.parametrize("name", ["a.fbx", "ply", "a"])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, name):
    listed = "written as .ply, .obj, .off, .stl, .glb, .3mf, .npz"
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: a mesh can be {listed}")):
        write_mesh(cube(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ALL)
def test_bad_surfaces(tmp_path, suffix):
    broken = replace(cube(), vertices=torch.full((8, 3), float("nan")))
    with pytest.raises(InputError, match="not finite"):
        write_mesh(broken, tmp_path / f"a{suffix}")
    polyline = replace(empty(), vertices=torch.zeros(0, 2), face_normals=torch.zeros(0, 2))
    with pytest.raises(InputError, match="3D"):
        write_mesh(polyline, tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())
