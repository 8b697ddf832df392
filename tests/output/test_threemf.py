import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest

from shapeopt.data.reading import read_mesh
from shapeopt.errors import InputError
from shapeopt.output.export import write_mesh
from tests.output.meshes import FAR, empty, prism, prism_volume

CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"


def volume(corners: np.ndarray) -> float:
    a, b, c = (corners[:, i] - corners[0, 0] for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_the_triangles_are_in_it(tmp_path):
    surface = prism(7).scaled_and_moved(2, FAR)
    path = write_mesh(surface, tmp_path / "a.3mf")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            ElementTree.fromstring(archive.read(name))
        model = ElementTree.fromstring(archive.read("3D/3dmodel.model"))
    vertices = [[float(v.get(axis)) for axis in "xyz"] for v in model.iter(f"{CORE}vertex")]
    faces = [[int(t.get(f"v{i}")) for i in (1, 2, 3)] for t in model.iter(f"{CORE}triangle")]
    np.testing.assert_array_equal(vertices, surface.vertices.numpy())
    assert volume(np.array(vertices)[faces]) == pytest.approx(8 * prism_volume(7), rel=1e-6)
    assert [item.get("objectid") for item in model.iter(f"{CORE}item")] == ["1"]


def test_it_is_read_back(tmp_path):
    pytest.importorskip("lxml")
    pytest.importorskip("networkx")
    surface = prism(7)
    vertices, faces = read_mesh(write_mesh(surface, tmp_path / "a.3mf"))
    assert volume(vertices[faces]) == pytest.approx(prism_volume(7))


def test_equal_meshes_make_equal_files(tmp_path):
    one, two = (write_mesh(prism(5), tmp_path / f"{name}.3mf").read_bytes() for name in "ab")
    assert one == two


def test_an_empty_mesh_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to write as 3MF"):
        write_mesh(empty(), tmp_path / "a.3mf")
