import itertools
import struct

import numpy as np
import pytest
import trimesh

from shapeopt.output.ply import write_ply
from tests.output.meshes import empty, prism, prism_volume


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


def test_empty_surface(tmp_path):
    points, polygons = read_ply(write_ply(empty(), tmp_path / "a.ply"))
    assert (len(points), len(polygons)) == (0, 0)
