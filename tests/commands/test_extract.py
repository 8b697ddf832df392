"""``shapeopt extract``: the mesh it writes, in the units of the input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import nn

import shapeopt
from shapeopt.commands.main import main
from shapeopt.commands.sources import open_source
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
    beside = json.loads((tmp_path / f"out.{suffix}.certificate.json").read_text())
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


def test_arrays_and_cells_are_in_the_units_of_the_input(tmp_path, capsys):
    surface, saved = extract_checkpoint(CHECKPOINT)
    exact = saved.normalisation.undo(surface.vertices).numpy()
    extract("-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        np.testing.assert_allclose(file["vertices"], exact)
        assert file["face_signs"].shape == (118, 16)
    extract("-o", tmp_path / "out.3mf")
    assert (tmp_path / "out.npz.certificate.json").exists()
    assert (tmp_path / "out.3mf.certificate.json").exists()
    capsys.readouterr()
    extract("-o", tmp_path / "out.vtu")
    assert "660 vertices, 1,774 edges, 1,591 polygons, 476 regions" in capsys.readouterr().out
    text = (tmp_path / "out.vtu").read_text(encoding="utf-8")
    assert 'NumberOfPoints="660" NumberOfCells="3841"' in text


def test_settings_are_taken(tmp_path, capsys):
    """In float32 vertices lie elsewhere by rounding; tracing comes to the same surface."""
    for name, settings in {
        "double": [],
        "single": ["--dtype", "float32"],
        "traced": ["--method", "trace", "--seeds", "16"],
        "blocks": ["--blocks", "2"],
    }.items():
        extract("-o", tmp_path / f"{name}.ply", *settings)
        assert "118 polygons" in capsys.readouterr().out
    double, single, traced, blocks = (
        np.sort(trimesh.load(tmp_path / f"{name}.ply", process=False).vertices, axis=0)
        for name in ("double", "single", "traced", "blocks")
    )
    assert 1e-12 < np.abs(double - single).max() < 1e-3
    np.testing.assert_allclose(double, traced, atol=1e-9)
    np.testing.assert_allclose(double, blocks, atol=1e-12)


@pytest.mark.parametrize("more", [[], ["--blocks", "2"]])
def test_a_surface_that_leaves_the_box_is_closed_if_wanted(tmp_path, capsys, more):
    extract("-o", tmp_path / "open.ply", *more)
    assert "open where it leaves the box; --cap closes it there" in capsys.readouterr().out
    extract("-o", tmp_path / "closed.ply", "--cap", *more)
    printed = capsys.readouterr().out
    assert "closed, manifold" in printed
    assert "leaves the box" not in printed
    source = open_source(CHECKPOINT)
    surface = shapeopt.extract_surface(source.network, source.bounds, cap=True)
    expected = surface.volume().item() * source.unit**3
    assert trimesh.load(tmp_path / "closed.ply").volume == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.dae"], r"out\.dae: a mesh can be written as \.ply"),
        (["-o", "out.ply", "--seeds", "8"], "--seeds is a setting of tracing"),
        (["-o", "out.ply", "--method", "trace", "--seeds", "0"], "seeds is 0"),
        (["-o", "/dev/null/out.ply"], "/dev/null"),
        (["-o", "out.vtu", "--method", "trace"], "gets all cells"),
        (["-o", "out.ply", "--method", "trace", "--blocks", "2"], "settings of subdivision"),
        (["-o", "out.ply", "--method", "trace", "--cap"], "settings of subdivision"),
        (["-o", "out.vtu", "--cap"], "gets all cells"),
        (["-o", "out.ply", "--processes", "2"], "several processes need blocks"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        extract(*arguments)


BALL = CHECKPOINT.parent / "networks" / "ball_3d_2x5.npz"


def extract_network(path: Path, out: Path, *arguments: object) -> np.ndarray:
    """Corners of the written mesh's vertices."""
    main(["extract", str(path), "-o", str(out), *map(str, arguments)])
    return trimesh.load(out, process=False).bounds


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_of_another_program(tmp_path, capsys):
    """The same ball, from its weights by name and from TorchScript."""
    network = shapeopt.load_network(BALL)
    surface = shapeopt.extract_surface(network, (-1, 1))
    expected = np.stack([surface.vertices.amin(0).tolist(), surface.vertices.amax(0).tolist()])
    torch.jit.trace(network, torch.zeros(1, 3)).save(tmp_path / "ball.pt")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    for path in (BALL, tmp_path / "ball.pt", tmp_path / "weights.pt"):
        bounds = extract_network(path, tmp_path / "out.ply", "--bounds", -1, 1)
        np.testing.assert_allclose(bounds, expected, atol=1e-6)
        assert f"{surface.num_faces:,} polygons" in capsys.readouterr().out
    certificate = json.loads((tmp_path / "out.ply.certificate.json").read_text())
    assert certificate["largest_error"] < 1e-6


def test_bounds_levels_and_outputs(tmp_path):
    network = nn.Sequential(nn.Linear(3, 2))
    network[0].weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    network[0].bias.data.zero_()
    torch.save(network.state_dict(), tmp_path / "planes.pt")
    corners = ["--bounds", "-1", "-2", "-3", "1", "2", "3"]
    settings = [*corners, "--output-index", 1, "--level", 0.5]
    bounds = extract_network(tmp_path / "planes.pt", tmp_path / "out.ply", *settings)
    np.testing.assert_allclose(bounds, [[-1, 0.5, -3], [1, 0.5, 3]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bounds", "1", "2", "3"], "--bounds has 3 numbers"),
        (["--bounds", "5", "6"], "no zero"),
        (["--output-index", "1"], "output is 1; the network has 0 to 0"),
        (["--architecture", "igr", "--bounds", "3", "2"], "are no box"),
    ],
)
def test_wrong_settings_of_a_network_are_one_line(arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        extract_network(BALL, tmp_path / "out.ply", *arguments)
