import numpy as np
import pytest
import trimesh

from shapeopt.data.mesh_orientation import facing_out


def volume(mesh: trimesh.Trimesh, faces: np.ndarray) -> float:
    return float(trimesh.Trimesh(mesh.vertices, faces, process=False).volume)


def turned(mesh: trimesh.Trimesh, which: np.ndarray | slice) -> np.ndarray:
    faces = np.array(mesh.faces, np.int64)
    faces[which] = faces[which, ::-1]
    return faces


def ball(radius: float, *center: float) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    mesh.apply_translation(center or (0, 0, 0))
    return mesh


def out(mesh: trimesh.Trimesh, faces: np.ndarray) -> np.ndarray:
    return facing_out(np.array(mesh.vertices), faces)


def test_a_right_mesh_stays_as_it_is():
    mesh = trimesh.creation.torus(1, 0.3)
    faces = np.array(mesh.faces, np.int64)
    np.testing.assert_array_equal(out(mesh, faces), faces)


def test_an_inside_out_mesh_is_turned():
    mesh = ball(1, 1e6, 5e6, 0)
    faces = turned(mesh, slice(None))
    assert volume(mesh, out(mesh, faces)) == pytest.approx(abs(mesh.volume))


def test_triangles_against_their_neighbours_are_turned():
    mesh = ball(1)
    which = np.random.default_rng(0).random(len(mesh.faces)) < 0.6  # most of them
    assert volume(mesh, out(mesh, turned(mesh, which))) == pytest.approx(mesh.volume)


def test_a_soup_of_triangles_is_one_surface():
    mesh = ball(1)
    corners = np.array(mesh.vertices)[turned(mesh, slice(0, None, 3))].reshape(-1, 3)
    faces = facing_out(corners, np.arange(len(corners)).reshape(-1, 3))
    soup = trimesh.Trimesh(corners, faces, process=False)
    assert float(soup.volume) == pytest.approx(mesh.volume)


def test_a_cavity_stays_and_is_turned_with_its_solid():
    inner = ball(0.5)
    inner.invert()
    mesh = trimesh.util.concatenate([ball(1), inner, ball(1, 4.0, 0, 0)])
    faces = np.array(mesh.faces, np.int64)
    np.testing.assert_array_equal(out(mesh, faces), faces)
    assert volume(mesh, out(mesh, turned(mesh, slice(None)))) == pytest.approx(mesh.volume)


def test_one_part_of_two_is_turned():
    mesh = trimesh.util.concatenate([ball(1), ball(1, 4.0, 0, 0)])
    half = slice(0, len(mesh.faces) // 2)
    assert volume(mesh, out(mesh, turned(mesh, half))) == pytest.approx(mesh.volume)


def test_an_open_sheet_stays_as_most_of_it_is():
    corners = np.array([[x, y, 0.0] for x in range(5) for y in range(5)])
    quads = [
        (5 * i + j, 5 * i + j + 5, 5 * i + j + 6, 5 * i + j + 1) for i in range(4) for j in range(4)
    ]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    wrong = faces.copy()
    wrong[3] = wrong[3, ::-1]
    found = facing_out(corners, wrong)
    normals = np.cross(
        corners[found[:, 1]] - corners[found[:, 0]], corners[found[:, 2]] - corners[found[:, 0]]
    )
    assert (normals[:, 2] > 0).all()


def test_triangles_without_area_do_no_harm():
    mesh = ball(1)
    faces = np.vstack([turned(mesh, slice(None)), [[3, 3, 5], [7, 7, 7]]])
    assert volume(mesh, out(mesh, faces)) == pytest.approx(mesh.volume)
