from pathlib import Path

import numpy as np
import pytest
import trimesh

from shapeopt.data import read_cloud, read_mesh
from shapeopt.errors import InputError

POINTS = np.random.default_rng(0).normal(size=(50, 3))
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)


def write_ply(path: Path, points: np.ndarray, normals: np.ndarray | None, ascii: bool) -> None:
    rows = points if normals is None else np.hstack([points, normals])
    names = ["x", "y", "z", "nx", "ny", "nz"][: rows.shape[1]]
    header = f"ply\nformat {'ascii' if ascii else 'binary_little_endian'} 1.0\ncomment hello\n"
    header += f"element vertex {len(rows)}\n"
    header += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    if ascii:
        body = "\n".join(" ".join(f"{x:.9g}" for x in row) for row in rows).encode() + b"\n"
    else:
        body = rows.astype("<f4").tobytes()
    path.write_bytes(header.encode() + body)


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("normals", [None, NORMALS])
def test_ply_cloud(tmp_path, ascii, normals):
    write_ply(tmp_path / "a.ply", POINTS, normals, ascii)
    raw = read_cloud(tmp_path / "a.ply")
    np.testing.assert_allclose(raw.points, POINTS, rtol=1e-6)
    assert raw.mesh is None
    assert raw.comments == ("hello",)
    if normals is None:
        assert raw.normals is None
    else:
        np.testing.assert_allclose(raw.normals, normals, rtol=1e-6)


@pytest.mark.parametrize("columns", [3, 6])
def test_text_and_numpy_clouds(tmp_path, columns):
    rows = np.hstack([POINTS, NORMALS])[:, :columns]
    np.savetxt(tmp_path / "a.xyz", rows)
    np.save(tmp_path / "a.npy", rows)
    arrays = {"points": POINTS} | ({"normals": NORMALS} if columns == 6 else {})
    np.savez(tmp_path / "a.npz", **arrays)
    for name in ("a.xyz", "a.npy", "a.npz"):
        raw = read_cloud(tmp_path / name)
        np.testing.assert_allclose(raw.points, POINTS)
        assert (raw.normals is None) == (columns == 3)
        if columns == 6:
            np.testing.assert_allclose(raw.normals, NORMALS)


def test_obj_without_faces_is_a_cloud(tmp_path):
    lines = "".join(f"v {x} {y} {z}\n" for x, y, z in POINTS)
    (tmp_path / "a.obj").write_text(lines)
    raw = read_cloud(tmp_path / "a.obj")
    np.testing.assert_allclose(raw.points, POINTS)
    assert raw.mesh is None


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "glb", "off"])
def test_a_mesh_comes_as_it_is(tmp_path, suffix):
    trimesh.creation.box(extents=(1, 2, 3)).export(tmp_path / f"box.{suffix}")
    vertices, faces = read_mesh(tmp_path / f"box.{suffix}")
    assert (vertices.dtype, faces.dtype, faces.shape) == (np.float64, np.int64, (12, 3))
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(22)


def test_a_cloud_is_no_mesh(tmp_path):
    np.save(tmp_path / "a.npy", POINTS)
    with pytest.raises(InputError, match=r"a\.npy: holds no faces"):
        read_mesh(tmp_path / "a.npy")


def test_a_face_must_have_its_corners(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n")
    with pytest.raises(InputError, match=r"a\.off: .*(not there|cannot be read)"):
        read_mesh(tmp_path / "a.off")


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl"])
def test_mesh_is_sampled_with_face_normals(tmp_path, suffix):
    trimesh.creation.box(extents=(1, 2, 3)).export(tmp_path / f"box.{suffix}")
    raw = read_cloud(tmp_path / f"box.{suffix}", mesh_samples=2000, seed=1)
    assert raw.points.shape == raw.normals.shape == (2000, 3)
    assert len(raw.mesh[1]) == 12
    # On a box a normal is an axis, and the point's coordinate along it is at the half extent.
    axis = np.abs(raw.normals).argmax(axis=1)
    along = np.take_along_axis(raw.points * raw.normals, axis[:, None], 1)[:, 0]
    np.testing.assert_allclose(along, np.array([0.5, 1, 1.5])[axis], atol=1e-6)
    assert np.bincount(axis)[0] / 2000 == pytest.approx(6 / 11, abs=0.05)
    again = read_cloud(tmp_path / f"box.{suffix}", mesh_samples=2000, seed=1)
    np.testing.assert_array_equal(raw.points, again.points)


def test_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"a\.e57: unknown kind .* \.ply, \.obj, \.stl, .*\.xyz"):
        read_cloud(tmp_path / "a.e57")


def test_missing_file_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match=r"there is no such file \(looked in .*\)"):
        read_cloud(tmp_path / "a.ply")


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "xyz", "npy", "npz"])
def test_empty_file(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").touch()
    with pytest.raises(InputError, match=rf"a\.{suffix}: the file is empty"):
        read_cloud(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "xyz", "npy", "npz"])
def test_not_what_the_suffix_says(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_text("v hello world again\nf 1 2 3\n")
    words = "cannot be read|no PLY header|holds no points|not numbers"
    with pytest.raises(InputError, match=rf"a\.{suffix}: .*({words})"):
        read_cloud(tmp_path / f"a.{suffix}")


def test_truncated_clouds(tmp_path):
    write_ply(tmp_path / "binary.ply", POINTS, NORMALS, ascii=False)
    write_ply(tmp_path / "ascii.ply", POINTS, NORMALS, ascii=True)
    np.save(tmp_path / "a.npy", POINTS)
    np.savez(tmp_path / "a.npz", points=POINTS)
    for name in ("binary.ply", "ascii.ply", "a.npy", "a.npz"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(InputError, match="cut short"):
            read_cloud(path)
    (tmp_path / "header.ply").write_bytes(b"ply\nformat ascii 1.0\nelement ver")
    with pytest.raises(InputError, match=r"no PLY header with an end_header line"):
        read_cloud(tmp_path / "header.ply")
    (tmp_path / "a.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 1")
    with pytest.raises(InputError, match="cut short"):
        read_cloud(tmp_path / "a.xyz")


@pytest.mark.parametrize("suffix", ["ply", "stl", "obj"])
def test_truncated_meshes(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    trimesh.creation.icosphere(subdivisions=1).export(path)
    keep = {"ply": 0.7, "stl": 0.7, "obj": 0.2}[suffix]  # of an .obj only lost vertices show
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(InputError, match="cut short"):
        read_cloud(path)


def test_ascii_mesh_with_faces_missing(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    data = trimesh.exchange.ply.export_ply(mesh, encoding="ascii")
    (tmp_path / "a.ply").write_bytes(data[: int(0.7 * len(data))])
    with pytest.raises(InputError, match=r"the header promises 80 face rows"):
        read_cloud(tmp_path / "a.ply")


def test_bad_values(tmp_path):
    points = POINTS.copy()
    points[4] = np.nan
    np.savetxt(tmp_path / "a.xyz", points)
    with pytest.raises(InputError, match=r"a\.xyz: 1 of 50 points are NaN .* first in row 4"):
        read_cloud(tmp_path / "a.xyz")
    (tmp_path / "b.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n")
    with pytest.raises(InputError, match=r"1 of 4 points are NaN .* first in row 0"):
        read_cloud(tmp_path / "b.obj")
    (tmp_path / "c.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nv 3 0 0\nf 1 2 3\nf 1 2 4\n")
    with pytest.raises(InputError, match=r"all 2 triangles of the mesh have zero area"):
        read_cloud(tmp_path / "c.obj")


def test_wrong_shapes_and_types(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((10, 4)))
    with pytest.raises(InputError, match=r"has 4 columns, and .*data\.columns"):
        read_cloud(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([["a", "b", "c"]] * 4))
    with pytest.raises(InputError, match="must hold real numbers"):
        read_cloud(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", xyz=POINTS)
    with pytest.raises(InputError, match=r"has no array `points`, only \['xyz'\]"):
        read_cloud(tmp_path / "c.npz")
    (tmp_path / "d.xyz").write_text("# nothing but a comment\n")
    with pytest.raises(InputError, match=r"d\.xyz: must be"):
        read_cloud(tmp_path / "d.xyz")
