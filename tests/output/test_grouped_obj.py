"""OBJ with groups."""

import trimesh

from shapeopt.output.grouped_obj import write_grouped_obj
from tests.solids import box_solid


def test_each_polygon_is_below_its_group(tmp_path):
    path = write_grouped_obj(box_solid(1, 2, 3), ["a", "b", "a", "b", "c", "a"], tmp_path / "x.obj")
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith("g ")] == ["g a", "g b", "g c"]
    counts = {}
    for line in lines:
        if line.startswith("g "):
            group = line[2:]
        elif line.startswith("f "):
            counts[group] = counts.get(group, 0) + 1
            assert len(line.split()) == 5
    assert counts == {"a": 3, "b": 2, "c": 1}
    mesh = trimesh.load(path, force="mesh")
    assert abs(mesh.volume - 6) < 1e-12
