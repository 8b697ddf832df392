"""``shapeopt simplify``: the mesh it writes is within the error it was given."""

import json

import pytest
import torch
import trimesh

import shapeopt
from shapeopt.commands.main import main
from shapeopt.data import Normalisation
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint

CENTER, SCALE = torch.tensor([5.0, -3.0, 2.0], dtype=torch.float64), 0.025


@pytest.fixture
def checkpoint(tmp_path):
    config = {
        "model": {"_target_": "shapeopt.sdf_network", "width": 12, "depth": 2},
        "extractor": {
            "_target_": "shapeopt.extract_surface",
            "_partial_": True,
            "bounds": [-0.5, 0.5],
            "dtype": {"_target_": "hydra.utils.get_object", "path": "torch.float64"},
        },
    }
    state = shapeopt.sdf_network(width=12, depth=2).state_dict()
    path, units = tmp_path / "last.pt", Normalisation(CENTER, SCALE)
    Checkpoint(7, state, {"state": {}}, None, config, units, {"fit": 1.0}).save(path)
    return path


@pytest.mark.parametrize("options", [[], ["--triangles"]])
def test_the_mesh_is_in_the_units_of_the_input(tmp_path, checkpoint, capsys, options):
    out = tmp_path / "out.ply"
    main(["simplify", str(checkpoint), "-o", str(out), "--error", "0.02", *options])
    before, after = (int(w.replace(",", "")) for w in capsys.readouterr().out.split()[0:4:3])
    assert after < 0.7 * before
    mesh = trimesh.load(out)
    assert mesh.is_watertight
    exact = extract_checkpoint(checkpoint)[0].vertices / SCALE + CENTER
    nearest = torch.cdist(torch.tensor(mesh.vertices), exact).min(dim=1).values
    assert float(nearest.max()) < 1e-6  # cdist rounds


def test_a_number_of_polygons(tmp_path, checkpoint, capsys):
    out = tmp_path / "out.obj"
    main(["simplify", str(checkpoint), "-o", str(out), "--faces", "40"])
    said = capsys.readouterr().out
    assert " 40 after" in said
    assert "\nclosed, manifold, winding consistent, 1 component, genus 0\n" in said
    written = sum(line.startswith("f ") for line in out.read_text().splitlines())
    assert written >= 40
    assert (f"the file has {written} faces" in said) == (written > 40)
    beside = json.loads((tmp_path / "out.obj.certificate.json").read_text())
    assert (beside["closed"], beside["components"][0]["polygons"]) == (True, 40)
    mesh = trimesh.load(out, force="mesh")
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(beside["components"][0]["volume"], rel=0.02)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [("out.xyz", "0.01", "can be written as"), ("out.ply", "-1", "--error is -1; it must be 0 or")],
)
def test_wrong_arguments_are_one_line(tmp_path, checkpoint, out, error, message):
    with pytest.raises(SystemExit, match=message):
        main(["simplify", str(checkpoint), "-o", str(tmp_path / out), f"--error={error}"])
