"""``shapeopt lowpoly``: what it writes is closed, convex where it says so, and as it says."""

import re
import time
from functools import partial

import numpy as np
import pytest
import trimesh

from shapeopt.commands import lowpoly
from shapeopt.commands.main import main
from shapeopt.errors import InputError
from shapeopt.lowpoly import search
from shapeopt.output.waiting import told

CENTER = np.array([5.0, -3.0, 2.0])


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """A dumb-bell of two balls and a bar, some 40 long."""
    monkeypatch.setattr(search, "POOL", 20_000)
    monkeypatch.setattr(search, "START_FACES", 60)
    balls = [trimesh.creation.icosphere(3, 8).apply_translation([s, 0, 0]) for s in (-12, 12)]
    bar = trimesh.creation.cylinder(3, 24).apply_transform(
        trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0])
    )
    solid = trimesh.boolean.union([*balls, bar], engine="manifold").apply_translation(CENTER)
    path = tmp_path / "bell.ply"
    solid.export(path)
    return path


@pytest.mark.thorough
def test_polygons_groups_and_parts(tmp_path, scan, capsys):
    out, folder = tmp_path / "out.obj", tmp_path / "parts"
    options = ["--faces", "40", "--parts", "4", "--effort", "0.05"]
    main(["lowpoly", str(scan), "-o", str(out), *options, "--convex", str(folder)])
    text, said = out.read_text(), capsys.readouterr().out
    faces = [line for line in text.splitlines() if line.startswith("f ")]
    polygons = int(re.match(r"(\d+) polygons", said).group(1))
    assert polygons <= len(faces)
    assert (f"the file has {len(faces)} faces" in said) == (len(faces) > polygons)
    assert "closed, manifold, winding consistent" in said
    groups = [line for line in text.splitlines() if line.startswith("g part")]
    assert 2 <= len(groups) <= 4
    assert max(len(line.split()) for line in faces) > 4
    mesh = trimesh.load(out, force="mesh")
    assert np.linalg.norm(mesh.bounds.mean(axis=0) - CENTER) < 3
    assert np.ptp(mesh.bounds, axis=0).max() == pytest.approx(40, rel=0.15)
    parts = sorted(folder.glob("*.obj"))
    assert len(groups) <= len(parts) <= 4
    for path in parts:
        part = trimesh.load(path, force="mesh")
        assert part.is_watertight
        assert part.is_convex
        assert part.volume > 0
    assert (folder / "bell.urdf").is_file()
    assert (folder / "bell.xml").is_file()


@pytest.mark.thorough
def test_triangles_are_closed(tmp_path, scan):
    out = tmp_path / "out.stl"
    main(["lowpoly", str(scan), "-o", str(out), "--faces=30", "--effort=0.01"])
    assert trimesh.load(out, force="mesh").is_watertight


def test_a_number_of_triangles(tmp_path, scan, capsys):
    out = tmp_path / "out.obj"
    main(["lowpoly", str(scan), "-o", str(out), "--faces=60", "--triangles", "--effort=0.05"])
    mesh = trimesh.load(out, force="mesh")
    assert mesh.is_watertight
    assert len(mesh.faces) == 60
    assert capsys.readouterr().out.startswith("60 triangles, ")


def test_more_polygons_than_planes_make_are_told_of_first(tmp_path, scan, capsys, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise InputError("enough")

    monkeypatch.setattr(lowpoly, "find", stop)
    for options, is_told in ((["--faces=3000"], True), (["--faces=3000", "--triangles"], False)):
        with pytest.raises(SystemExit, match="enough"):
            main(["lowpoly", str(scan), "-o", str(tmp_path / "out.obj"), *options])
        assert ("--triangles makes as many" in capsys.readouterr().out) == is_told


@pytest.mark.parametrize("options", [["--parts=4"], ["--convex"]])
def test_triangles_with_parts(tmp_path, scan, options, capsys):
    folder = tmp_path / "parts"
    options = [*options, str(folder)] if options == ["--convex"] else options
    out = tmp_path / "out.obj"
    main(
        [
            "lowpoly",
            str(scan),
            "-o",
            str(out),
            "--faces=60",
            "--triangles",
            "--effort=.02",
            *options,
        ]
    )
    assert len(trimesh.load(out, force="mesh").faces) == 60
    assert bool(list(folder.glob("*.obj"))) == (options != ["--parts=4"])


@pytest.mark.slow
def test_the_goals_are_reached(tmp_path, scan, capsys, monkeypatch):
    monkeypatch.undo()
    main(["lowpoly", str(scan), "-o", str(tmp_path / "a.obj"), "--faces", "60"])
    said = capsys.readouterr().out
    assert 57 <= int(said.split()[0]) <= 63
    main(["lowpoly", str(scan), "-o", str(tmp_path / "b.obj"), "--error", "0.01"])
    said = capsys.readouterr().out
    assert 0.005 < float(re.search(r"mean distance ([\d.e-]+)", said)[1]) <= 0.01
    assert "not reached" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--faces", "2"], "at least 4"),
        (["--error", "-1"], "--error is -1; it must be"),
        (["--faces", "40", "--parts", "0"], "at least 1"),
        (["--faces", "40", "--effort", "0"], "effort"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, scan, options, message):
    with pytest.raises(SystemExit, match=message):
        main(["lowpoly", str(scan), "-o", str(tmp_path / "out.obj"), *options])


def test_the_bar_fills_and_what_follows_is_told(capsys, monkeypatch):
    monkeypatch.setattr(lowpoly, "told", partial(told, seconds=0.05))
    with lowpoly._Bar() as bar:
        time.sleep(0.3)
        for words, steps in (("fitting", 7), ("shaping", 5)):
            for step in range(0, steps, 2):
                bar.update(words, step, steps)
            time.sleep(0.3)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert lines[0] == lowpoly.PREPARING
    assert lines.count(lowpoly.BETWEEN) == 2
    assert any(line.startswith("fitting: 100%") for line in lines)
    assert lines[-1].startswith("shaping: 100%")
    assert not any(line.startswith("0step") for line in lines)
