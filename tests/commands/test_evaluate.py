"""The command that measures a mesh or checkpoint against the truth."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import shapeopt
from shapeopt.commands.main import main
from shapeopt.data import Normalisation
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint
from tests.sample_networks import octahedron

SHIFT, SCALE = np.array([5.0, -3.0, 2.0]), 40.0
RADIUS = 0.3


def octahedron_mesh(radius: float) -> trimesh.Trimesh:
    corners = np.concatenate([np.eye(3), -np.eye(3)]) * radius
    return trimesh.convex.convex_hull(corners * SCALE + SHIFT)


@pytest.fixture
def truth(tmp_path) -> Path:
    """An octahedron, far from the origin and not of size 1."""
    path = tmp_path / "truth.ply"
    octahedron_mesh(RADIUS).export(path)
    return path


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Of a network that is the octahedron in normalised units."""
    network = shapeopt.sdf_network(width=6, depth=1).double()
    network.load_state_dict(octahedron(RADIUS).state_dict())
    config = {
        "model": {"_target_": "shapeopt.sdf_network", "width": 6, "depth": 1},
        "extractor": {
            "_target_": "shapeopt.extract_surface",
            "_partial_": True,
            "bounds": [-0.5, 0.5],
            "dtype": {"_target_": "hydra.utils.get_object", "path": "torch.float64"},
        },
    }
    path = tmp_path / "last.pt"
    state = {name: value.float() for name, value in network.state_dict().items()}
    units = Normalisation(torch.from_numpy(SHIFT), 1 / SCALE)
    Checkpoint(7, state, {"state": {}}, None, config, units, {"fit": 1.0}).save(path)
    return path


def measured(capsys, *arguments: object) -> dict[str, float]:
    main(["evaluate", *map(str, arguments), "--samples", "2000", "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_mesh_is_itself(capsys, truth):
    result = measured(capsys, truth, truth)
    assert result["hausdorff"] < 1e-6
    assert result["f_score"] == 1
    assert result["normal_consistency"] == pytest.approx(1)
    assert result["unit"] == pytest.approx(2 * RADIUS * SCALE)


def test_lengths_are_shares_of_the_longest_side(capsys, tmp_path, truth):
    """The faces of an octahedron of 1.1 times the size are 0.1 r / sqrt(3) away."""
    octahedron_mesh(1.1 * RADIUS).export(tmp_path / "larger.stl")
    result = measured(capsys, tmp_path / "larger.stl", truth)
    assert result["distance_from_truth"] == pytest.approx(0.1 * 0.5 / 3**0.5, rel=1e-4)
    assert result["hausdorff"] <= 0.1 * 0.5


def test_a_checkpoint_comes_back_to_the_units_of_its_input(capsys, checkpoint, truth):
    result = measured(capsys, checkpoint, truth)
    assert result["hausdorff"] < 1e-6
    surface, loaded = extract_checkpoint(checkpoint)
    assert loaded.step == 7
    assert result["triangles"] == len(surface.triangles())


def test_a_cloud_can_be_the_truth(capsys, tmp_path, truth):
    mesh = trimesh.load(truth)
    points, face = trimesh.sample.sample_surface(mesh, 5000, seed=0)
    np.savetxt(tmp_path / "cloud.xyz", np.hstack([points, mesh.face_normals[face]]))
    result = measured(capsys, truth, tmp_path / "cloud.xyz")
    assert result["distance"] < 2e-3
    assert result["normal_consistency"] > 0.97


def test_the_same_seed_prints_the_same(capsys, tmp_path, truth):
    octahedron_mesh(1.1 * RADIUS).export(tmp_path / "larger.ply")
    one, two, other = (
        measured(capsys, tmp_path / "larger.ply", truth, "--seed", seed) for seed in (1, 1, 2)
    )
    assert one == two != other


def test_the_table_states_its_unit(capsys, checkpoint, truth):
    main(["evaluate", str(checkpoint), str(truth), "--samples", "100"])
    text = capsys.readouterr().out
    polygons = extract_checkpoint(checkpoint)[0].num_faces
    assert f"checkpoint at step 7, {polygons} polygons" in text
    assert "longest side (24) scaled to 1" in text
    assert "f_score" in text


def cloud_file(folder: Path) -> Path:
    trimesh.PointCloud(np.random.default_rng(0).random((10, 3))).export(folder / "cloud.ply")
    return folder / "cloud.ply"


def text_file(folder: Path) -> Path:
    (folder / "text.obj").write_text("no mesh at all")
    return folder / "text.obj"


def flat_file(folder: Path) -> Path:
    """A mesh of one triangle of no area."""
    (folder / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    return folder / "flat.obj"


def broken_checkpoint(folder: Path) -> Path:
    (folder / "broken.pt").write_bytes(b"no checkpoint")
    return folder / "broken.pt"


def bare_checkpoint(folder: Path) -> Path:
    path = folder / "bare.pt"
    Checkpoint(0, {}, {}, None, {}, Normalisation.identity(), {}).save(path)
    return path


def other_network(folder: Path) -> Path:
    path = folder / "other.pt"
    config = {"model": {"_target_": "shapeopt.sdf_network", "width": 4, "depth": 1}}
    config["extractor"] = {"_target_": "shapeopt.extract_surface", "_partial_": True}
    state = octahedron(RADIUS).state_dict()
    Checkpoint(0, state, {}, None, config, Normalisation.identity(), {}).save(path)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent.ply", "no such file"),
        (lambda folder: folder / "absent.pt", "no checkpoint"),
        (cloud_file, "no faces"),
        (text_file, r"text\.obj: (cannot be read|holds no points)"),
        (flat_file, "zero area"),
        (broken_checkpoint, "no checkpoint of shapeopt"),
        (bare_checkpoint, "has no model"),
        (other_network, "cannot be built again"),
    ],
)
def test_a_wrong_surface_is_named(tmp_path, truth, make, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        main(["evaluate", str(make(tmp_path)), str(truth)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent.ply", "no such file"),
        (text_file, r"text\.obj"),
        (flat_file, r"flat\.obj"),
        (broken_checkpoint, "unknown kind of file"),
    ],
)
def test_a_wrong_truth_is_named(tmp_path, truth, make, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        main(["evaluate", str(truth), str(make(tmp_path))])


def test_samples_must_be_positive(truth):
    with pytest.raises(SystemExit, match="--samples is 0"):
        main(["evaluate", str(truth), str(truth), "--samples", "0"])


@pytest.mark.thorough
def test_the_command_ends_without_a_traceback(tmp_path, truth):
    command = [sys.executable, "-m", "shapeopt", "evaluate", tmp_path / "absent.ply", truth]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    *others, last = process.stderr.splitlines()
    assert last.startswith("error: ")
    # On a slow machine it says that it is loading.
    assert all(line.startswith("loading") for line in others)
