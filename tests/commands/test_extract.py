"""``shapeopt extract``: the mesh it writes, in the units of the input."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from shapeopt.commands.main import main
from shapeopt.data import load
from shapeopt.training.checkpoints import extract_checkpoint

CHECKPOINT = Path(__file__).resolve().parents[1] / "files" / "version_0.1_fit.pt"


def extract(*arguments: object) -> None:
    main(["extract", str(CHECKPOINT), *map(str, arguments)])


@pytest.mark.parametrize("suffix", ["ply", "glb", "obj", "stl"])
def test_the_mesh_is_in_the_units_of_the_input(tmp_path, capsys, suffix):
    out = tmp_path / f"out.{suffix}"
    extract("-o", out)
    printed = capsys.readouterr().out
    assert "118 polygons, Euler characteristic 1\nopen, manifold, winding consistent" in printed
    beside = json.loads((tmp_path / "out.certificate.json").read_text())
    assert (beside["manifold"], beside["complete"], beside["closed"]) == (True, True, False)
    assert beside["largest_error"] < 1e-9
    mesh = trimesh.load(out, force="mesh", process=False)
    surface, saved = extract_checkpoint(CHECKPOINT)
    exact = saved.normalisation.undo(surface.vertices).numpy()
    assert len(mesh.faces) == len(surface.triangles())
    expected = np.stack([exact.min(axis=0), exact.max(axis=0)])
    np.testing.assert_allclose(mesh.bounds, expected, atol=1e-6)
    center = load("data/bunny.ply").normalisation.center.numpy()
    np.testing.assert_allclose(center, saved.normalisation.center)


def test_settings_are_taken(tmp_path, capsys):
    """In float32 vertices lie elsewhere by rounding; tracing comes to the same surface."""
    for name, settings in {
        "double": [],
        "single": ["--dtype", "float32"],
        "traced": ["--method", "trace", "--seeds", "16"],
    }.items():
        extract("-o", tmp_path / f"{name}.ply", *settings)
        assert "118 polygons" in capsys.readouterr().out
    double, single, traced = (
        np.sort(trimesh.load(tmp_path / f"{name}.ply", process=False).vertices, axis=0)
        for name in ("double", "single", "traced")
    )
    assert 1e-12 < np.abs(double - single).max() < 1e-3
    np.testing.assert_allclose(double, traced, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.dae"], r"out\.dae: a mesh can be written as \.ply"),
        (["-o", "out.ply", "--seeds", "8"], "--seeds is a setting of tracing"),
        (["-o", "out.ply", "--method", "trace", "--seeds", "0"], "seeds is 0"),
        (["-o", "/dev/null/out.ply"], "/dev/null"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        extract(*arguments)
