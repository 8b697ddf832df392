"""Every awkward file comes out as it is, or as an error that says what is wrong."""

import re
import warnings

import numpy as np
import pytest

from shapeopt.data import read_cloud
from shapeopt.data.formats import RawCloud, read_file
from shapeopt.errors import InputError
from tests.data.awkward import Case, Cloud, Refused, Solid, cases

CASES = cases()


def outcome(raw: RawCloud) -> Solid | Cloud:
    """What was read, as the cases have it; normals that are not the points themselves are none."""
    if raw.mesh is None:
        right = raw.normals is not None and np.allclose(raw.normals, raw.points, atol=1e-3)
        return Cloud(len(raw.points), bool(right))
    vertices, faces = raw.mesh
    a, b, c = np.moveaxis((vertices - vertices.mean(axis=0))[faces], 1, 0)
    return Solid(len(faces), round(float((np.cross(a, b) * c).sum()) / 6, 4))


@pytest.mark.parametrize("case", CASES, ids=[f"{case.suffix}-{case.name}" for case in CASES])
def test_awkward_file(tmp_path, case: Case):
    if case.needs is not None:
        pytest.importorskip(case.needs)
    path = tmp_path / f"file.{case.suffix}"
    path.write_bytes(case.data)
    if isinstance(case.expected, Refused):
        with pytest.raises(
            InputError, match=rf"(?s){re.escape(path.name)}: .*({case.expected.words})"
        ):
            read_cloud(path, 100, columns=case.columns)
    elif case.warns is not None:
        with pytest.warns(UserWarning, match=case.warns):
            assert outcome(read_file(path, case.columns)) == case.expected
    else:
        with warnings.catch_warnings(action="error"):
            assert outcome(read_file(path, case.columns)) == case.expected
            read_cloud(path, 100, columns=case.columns)


def test_a_gltf_file_takes_its_numbers_from_its_own_folder_alone(tmp_path):
    import base64
    import json

    corners = np.eye(4, 3).astype("<f4").tobytes()
    tree = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 6}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 48}],
        "buffers": [{"byteLength": 48, "uri": "a.bin"}],
    }
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.bin").write_bytes(corners)
    (tmp_path / "b.bin").write_bytes(corners)
    for uri in ("a.bin", "data:;base64," + base64.b64encode(corners).decode()):
        tree["buffers"][0]["uri"] = uri
        (inner / "a.gltf").write_text(json.dumps(tree))
        assert read_file(inner / "a.gltf").mesh[1].tolist() == [[0, 1, 2], [0, 2, 3]]
    tree["buffers"][0]["uri"] = "../b.bin"
    (inner / "a.gltf").write_text(json.dumps(tree))
    with pytest.raises(InputError, match="not in the same folder"):
        read_file(inner / "a.gltf")


def test_our_own_meshes_come_back(tmp_path):
    from shapeopt.output.export import write_mesh
    from shapeopt.output.ply import write_ply
    from tests.output.meshes import FAR, prism, prism_volume

    mesh = prism(7).scaled_and_moved(1, FAR)
    paths = [
        write_mesh(mesh, tmp_path / f"a{suffix}") for suffix in (".ply", ".obj", ".off", ".glb")
    ]
    for path in [*paths, write_ply(mesh, tmp_path / "b.ply", binary=True)]:
        found = outcome(read_file(path))
        assert isinstance(found, Solid)
        assert found.triangles == 7 * 2 + 2 * 5
        assert found.volume == pytest.approx(prism_volume(7), abs=1e-4)
