"""``shapeopt info``: what it says agrees with what is known by other means."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt.commands.main import main
from shapeopt.training.checkpoints import extract_checkpoint

FILES = Path(__file__).resolve().parents[1] / "files"


def info(capsys, *arguments: object) -> dict:
    main(["info", *map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_mesh_is_no_network(tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*shape\.ply is a mesh or a cloud"):
        main(["info", str(tmp_path / "shape.ply")])


def test_a_checkpoint_in_the_units_of_its_input(capsys):
    path = FILES / "version_0.1_fit.pt"
    facts = info(capsys, path)
    surface, saved = extract_checkpoint(path)
    mesh = saved.normalisation.undo_mesh(surface)
    assert facts["layers"] == "3 > 8 > 8 > 1"
    assert facts["parameters"] == 3 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert facts["folds"] == 16
    assert (facts["polygons"], facts["closed"]) == (mesh.num_faces, False)
    assert facts["area"] == pytest.approx(mesh.area().item())
    assert facts["units in a box length"] == pytest.approx(1 / saved.normalisation.scale)
    whole = shapeopt.extract_complex(saved.rebuilt_network())
    assert facts["regions"] == whole.num_cells[3]


def test_a_network_of_another_program(capsys):
    facts = info(capsys, FILES / "networks" / "ball_3d_2x5.npz", "--bounds", -1, 1)
    assert (facts["components"], facts["genus"], facts["closed"]) == (1, "0", True)
    assert "training" not in facts


def test_an_octahedron(tmp_path, capsys):
    """|x| + |y| + |z| = 1/2: eight regions, eight triangles, volume 1/6."""
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
    axes = torch.eye(3)
    with torch.no_grad():
        network[0].weight.copy_(torch.cat([axes, -axes]))
        network[0].bias.zero_()
        network[2].weight.fill_(1)
        network[2].bias.fill_(-0.5)
    torch.save(network.state_dict(), tmp_path / "octahedron.pt")
    facts = info(capsys, tmp_path / "octahedron.pt", "--bounds", -1, 1)
    assert (facts["polygons"], facts["edges"], facts["vertices"]) == (8, 12, 6)
    assert facts["volume"] == pytest.approx(1 / 6)
    assert facts["lower corner"] == "-0.5 -0.5 -0.5"


def test_a_table_for_people(capsys):
    main(["info", str(FILES / "networks" / "ball_3d_2x5.npz"), "--bounds", "-1", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert {line.split("  ")[0] for line in lines} >= {"layers", "folds", "regions", "genus"}
    assert any(line.split() == ["closed", "yes"] for line in lines)


def test_without_a_surface(capsys):
    facts = info(capsys, FILES / "networks" / "ball_3d_2x5.npz", "--bounds", 5, 6)
    assert facts["surface"].startswith("none: the network has no zero")


def test_regions_are_counted_where_they_are_few(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("shapeopt.commands.info.FEASIBLE", 100)
    path = FILES / "networks" / "ball_3d_2x5.npz"
    assert "--cells counts them" in info(capsys, path, "--bounds", -1, 1)["regions"]
    assert info(capsys, path, "--bounds", -1, 1, "--cells")["regions"] > 10
