import numpy as np
import pytest
import torch
from matplotlib import image

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.rasterise import nearest_polygons
from shapeopt.output.viewing import BACKGROUND, camera_axes, draw, render_png
from tests.output.meshes import FAR, cube, empty


def seen_from(surface, up="z", azimuth=0.0, elevation=0.0, scale=10.0, size=60):
    """The polygons seen by an eye, per pixel."""
    mesh = mesh_arrays(surface)
    view = mesh.vertices @ camera_axes(up, azimuth, elevation).T
    return nearest_polygons(view * [scale, -scale, scale] + [size / 2, size / 2, 0], mesh, size)


def test_camera_is_a_rotation_with_up_upwards():
    for up, axis in (("z", 2), ("y", 1)):
        axes = camera_axes(up, 35, 22)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)
        assert axes[0, axis] == pytest.approx(0)  # the horizon is level
        assert axes[1, axis] > 0.9
        assert axes[2, axis] == pytest.approx(np.sin(np.radians(22)))  # seen from above


@pytest.mark.parametrize(
    ("up", "azimuth", "elevation", "face"),
    [("z", 0, 0, 2), ("z", 90, 0, 1), ("z", 0, 90, 5), ("y", 0, 0, 5), ("y", 0, 90, 3)],
)
def test_the_nearest_face_of_a_cube_is_seen(up, azimuth, elevation, face):
    seen = seen_from(cube(), up, azimuth, elevation)
    expected = np.full((60, 60), -1)
    expected[20:40, 20:40] = face
    # The side faces are seen edge-on; rounding may show them on the rim.
    inner = (slice(21, 39), slice(21, 39))
    np.testing.assert_array_equal(seen[inner], expected[inner])
    np.testing.assert_array_equal(seen == -1, expected == -1)


def test_through_a_hole_the_inside_is_seen():
    seen = seen_from(cube(2))
    assert (seen[21:39, 21:39] == 2).all()  # without -y, the third face is +y
    open_cube, camera = mesh_arrays(cube(2)), camera_axes("z", 0, 0)
    (picture,) = draw([open_cube], camera, 50)
    assert picture[25, 25, 2] > picture[25, 25, 0]  # blue


def test_no_gaps_between_polygons():
    """A fine, turned grid of squares covers its pixels without a hole, each by one square."""
    n = 20
    steps = torch.arange(n + 1, dtype=torch.float64)
    x, y = torch.meshgrid(steps, steps, indexing="ij")
    vertices = torch.stack([x.flatten(), y.flatten(), torch.zeros((n + 1) ** 2)], dim=1)
    index = torch.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    quads = torch.stack([v.flatten() for v in (a, b, c, d)], dim=1).tolist()
    mesh = mesh_arrays(PolygonMesh.from_polygons(vertices, quads))
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    points = (mesh.vertices - [n / 2, n / 2, 0]) @ turn.T * 7 + [120, 120, 0]
    seen = nearest_polygons(points, mesh, 240)
    rows, columns = np.mgrid[:240, :240] + 0.5
    back = np.stack([columns - 120, rows - 120, 0 * rows], axis=-1) @ turn / 7 + n / 2
    inside = (back[..., :2] > 0).all(axis=-1) & (back[..., :2] < n).all(axis=-1)
    cell = np.floor(back).astype(int)
    np.testing.assert_array_equal(seen[inside], (cell[..., 0] * n + cell[..., 1])[inside])
    assert (seen[~inside] == -1).all()


def test_edges_are_dark_and_diagonals_do_not_show():
    (picture,) = draw([mesh_arrays(cube())], camera_axes("z", 0, 0), 50)
    middle = picture[10:40, 10:40]
    np.testing.assert_allclose(middle, np.broadcast_to(middle[0, 0], middle.shape))
    assert picture[25].min() < 0.8 * middle[0, 0].min()
    np.testing.assert_allclose(picture[0, 0], BACKGROUND)


def test_all_panels_share_one_scale():
    small = cube().detach().scaled_and_moved(0.5, torch.zeros(3))
    pictures = draw([mesh_arrays(cube()), mesh_arrays(small)], camera_axes("z", 0, 0), 100)
    wide, narrow = ((picture[50] < 0.99).any(axis=-1).sum() for picture in pictures)
    assert wide == pytest.approx(2 * narrow, abs=3)


def test_far_from_the_origin_the_picture_is_the_same():
    camera = camera_axes("z", 35, 22)
    (near,) = draw([mesh_arrays(cube(2))], camera, 100)
    (far,) = draw([mesh_arrays(cube(2).scaled_and_moved(1, FAR))], camera, 100)
    assert (np.abs(near - far).max(axis=-1) > 0.1).mean() < 1e-3  # a pixel may round otherwise


def test_render_png(tmp_path):
    path = render_png({"before": cube(), "after": cube(2)}, tmp_path / "new" / "a.png", dpi=50)
    assert image.imread(path).shape == (280, 500, 4)


def test_a_surface_without_polygons_is_an_empty_panel(tmp_path):
    assert render_png({"none": empty(), "cube": cube()}, tmp_path / "a.png", dpi=40).exists()
    assert render_png({"none": empty()}, tmp_path / "b.png", dpi=40).exists()


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        render_png({}, tmp_path / "a.png")
    with pytest.raises(InputError, match="up must be"):
        render_png({"cube": cube()}, tmp_path / "a.png", up="x")
