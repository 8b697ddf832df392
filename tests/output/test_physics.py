"""Convex parts in a folder, with the files that name them."""

from xml.etree import ElementTree

import trimesh

from shapeopt.output.physics import write_convex_parts
from tests.solids import box_solid, tetrahedron_solid


def test_every_mesh_is_named_and_there(tmp_path):
    written = write_convex_parts([box_solid(1, 2, 3), tetrahedron_solid()], tmp_path / "p", "thing")
    assert [path.name for path in written] == [
        *("thing_000.obj", "thing_001.obj"),
        *("thing.urdf", "thing.xml"),
    ]
    robot = ElementTree.parse(written[2]).getroot()
    assert [m.get("filename") for m in robot.findall("link/collision/geometry/mesh")] == [
        "thing_000.obj",
        "thing_001.obj",
    ]
    model = ElementTree.parse(written[3]).getroot()
    files = {mesh.get("name"): mesh.get("file") for mesh in model.findall("asset/mesh")}
    used = [geom.get("mesh") for geom in model.findall("worldbody/body/geom")]
    assert [files[name] for name in used] == ["thing_000.obj", "thing_001.obj"]
    for path in written[:2]:
        assert trimesh.load(path, force="mesh").is_convex
