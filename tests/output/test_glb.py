import json
import struct

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.glb import write_glb
from tests.output.meshes import FAR, empty, prism, prism_volume


def test_trimesh_reads_flat_polygons_from_the_glb(tmp_path):
    surface = prism(7)
    scene = trimesh.load(write_glb(surface, tmp_path / "a.glb"), process=False)
    mesh = scene.geometry["surface"]
    assert mesh.volume == pytest.approx(prism_volume(7), rel=1e-6)
    # Each polygon has its own vertices, with its own normal.
    assert len(mesh.vertices) == len(surface.face_vertices)
    np.testing.assert_allclose(
        mesh.vertex_normals[mesh.faces].mean(axis=1), mesh.face_normals, atol=1e-6
    )


def test_glb_has_the_edges_of_the_polygons_as_lines(tmp_path):
    surface = prism(7)
    data = write_glb(surface, tmp_path / "a.glb").read_bytes()
    magic, version, total, text = struct.unpack_from("<4s3I", data)
    assert (magic, version, total, text % 4) == (b"glTF", 2, len(data), 0)
    tree, binary = json.loads(data[20 : 20 + text]), data[20 + text + 8 :]
    assert tree["buffers"][0]["byteLength"] == len(binary)

    def array(accessor, form):
        view = tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]
        start = view["byteOffset"]
        return np.frombuffer(binary[start : start + view["byteLength"]], form)

    lines = tree["meshes"][0]["primitives"][1]
    assert lines["mode"] == 1
    points = array(lines["attributes"]["POSITION"], "<f4").reshape(-1, 3)
    points = points + tree["nodes"][0]["translation"]
    np.testing.assert_allclose(points, surface.vertices, atol=2e-3)  # lifted by a hair
    assert (np.linalg.norm(points[:, :2], axis=1) > 1).all()
    ends = array(lines["indices"], "<u4").reshape(-1, 2)
    np.testing.assert_array_equal(ends, surface.edges)  # and no diagonals


def test_far_from_the_origin_nothing_is_rounded(tmp_path):
    """In single precision, coordinates of 5,000,000 lie 0.5 apart."""
    surface = prism(7).scaled_and_moved(1, FAR)
    scene = trimesh.load(write_glb(surface, tmp_path / "a.glb"), process=False)
    mesh = scene.to_mesh()
    assert mesh.area == pytest.approx(float(surface.area()), rel=1e-5)
    corners = surface.vertices[surface.face_vertices]
    np.testing.assert_allclose(mesh.vertices, corners, rtol=0, atol=1e-6)


def test_normals_have_unit_length_even_without_area(tmp_path):
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]])
    surface = PolygonMesh.from_polygons(vertices, [(0, 1, 2), (0, 1, 3)])
    scene = trimesh.load(write_glb(surface, tmp_path / "a.glb"), process=False)
    normals = scene.geometry["surface"].vertex_normals
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-6)


def test_empty_surface(tmp_path):
    with pytest.raises(InputError, match="no polygons"):
        write_glb(empty(), tmp_path / "a.glb")
    assert not list(tmp_path.iterdir())
