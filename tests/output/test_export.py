import itertools
import json
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import write_glb, write_ply
from shapeopt.output.mesh_arrays import mesh_arrays


def cube():
    """Side 2 about the origin, six squares; as in training, its vertices need gradients."""
    vertices = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)), requires_grad=True)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return PolygonMesh.from_polygons(vertices, quads)


def prism(sides):
    """Unit height, on a regular polygon of radius 1; two faces with `sides` corners."""
    angle = torch.arange(sides, dtype=torch.float64) * (2 * torch.pi / sides)
    ring = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1)
    vertices = torch.cat([ring, ring + torch.tensor([0.0, 0.0, 1.0])])
    walls = [(i, j, j + sides, i + sides) for i, j in around(sides)]
    ends = [tuple(reversed(range(sides))), tuple(range(sides, 2 * sides))]
    return PolygonMesh.from_polygons(vertices, [*walls, *ends])


def around(sides):
    return [(i, (i + 1) % sides) for i in range(sides)]


def prism_volume(sides):
    return sides / 2 * np.sin(2 * np.pi / sides)


def empty():
    return PolygonMesh(
        vertices=torch.zeros(0, 3),
        edges=torch.zeros(0, 2, dtype=torch.long),
        edge_faces=torch.zeros(0, 2, dtype=torch.long),
        face_offsets=torch.zeros(1, dtype=torch.long),
        face_vertices=torch.zeros(0, dtype=torch.long),
        face_normals=torch.zeros(0, 3),
    )


def read_ply(path):
    """Vertices and polygons of a file, read as the format's description says."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    vertices, faces = (int(line.split()[-1]) for line in lines if line.startswith("element"))
    if lines[1].split()[1] == "ascii":
        rows = body.decode().splitlines()
        points = np.array([row.split() for row in rows[:vertices]], dtype=float)
        polygons = [tuple(map(int, row.split())) for row in rows[vertices:]]
        assert all(polygon[0] == len(polygon) - 1 for polygon in polygons)
        return points, [polygon[1:] for polygon in polygons]
    points = np.frombuffer(body, "<f8", 3 * vertices).reshape(-1, 3)
    form, at, polygons = ("<B" if "uchar" in lines[-1] else "<I"), 24 * vertices, []
    for _ in range(faces):
        (count,) = struct.unpack_from(form, body, at)
        at += struct.calcsize(form)
        polygons.append(struct.unpack_from(f"<{count}i", body, at))
        at += 4 * count
    assert at == len(body)
    return points, polygons


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("sides", [5, 300])  # 300 corners do not fit in one byte
def test_ply_keeps_polygons_and_every_digit(tmp_path, sides, binary):
    surface = prism(sides)
    points, polygons = read_ply(write_ply(surface, tmp_path / "a.ply", binary=binary))
    np.testing.assert_array_equal(points, surface.vertices.numpy())
    offsets, corners = surface.face_offsets.tolist(), surface.face_vertices.tolist()
    assert polygons == [tuple(corners[a:b]) for a, b in itertools.pairwise(offsets)]


def test_trimesh_reads_the_ply(tmp_path):
    mesh = trimesh.load(write_ply(prism(7), tmp_path / "a.ply"))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(prism_volume(7))


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
    np.testing.assert_allclose(points, surface.vertices, atol=2e-3)  # lifted by a hair
    assert (np.linalg.norm(points[:, :2], axis=1) > 1).all()
    ends = array(lines["indices"], "<u4").reshape(-1, 2)
    np.testing.assert_array_equal(ends, surface.edges)  # and no diagonals


def test_normals_and_triangles():
    mesh = mesh_arrays(cube())
    assert mesh.is_closed
    centres = mesh.vertices[mesh.corners].reshape(6, 4, 3).mean(axis=1)
    np.testing.assert_allclose(mesh.normals(), centres)
    triangles, faces = mesh.triangles()
    assert faces.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert triangles[:2].tolist() == [[0, 1, 2], [0, 2, 3]]
    np.testing.assert_array_equal(mesh.corners[triangles], cube().triangles().numpy())


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    path = write_ply(cube(), tmp_path / "a.ply")
    before = path.read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_ply(prism(5), path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.ply"]
    assert path.read_bytes() == before


def test_empty_surface(tmp_path):
    points, polygons = read_ply(write_ply(empty(), tmp_path / "a.ply"))
    assert (len(points), len(polygons)) == (0, 0)
    with pytest.raises(InputError, match="no polygons"):
        write_glb(empty(), tmp_path / "a.glb")


def test_bad_surfaces(tmp_path):
    broken = replace(cube(), vertices=torch.full((8, 3), float("nan")))
    with pytest.raises(InputError, match="not finite"):
        write_ply(broken, tmp_path / "a.ply")
    assert not list(tmp_path.iterdir())

    polyline = replace(empty(), vertices=torch.zeros(0, 2), face_normals=torch.zeros(0, 2))
    with pytest.raises(InputError, match="3D"):
        write_ply(polyline, tmp_path / "a.ply")
