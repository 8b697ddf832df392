"""An encoded model from the command line: trained, extracted whole, and told about."""

import json

import pytest

from shapeopt.commands.main import main

MODEL = ("model=encoded", "model.cells=[2,4]", "model.width=8", "logging=none")


@pytest.mark.slow
def test_a_training_and_what_its_checkpoint_is_good_for(tmp_path, capsys):
    run = tmp_path / "run"
    shorter = ("training.fit.steps=60", "training.shape.steps=3", "evaluation_samples=1000")
    main(["train", "experiment=smoke", *MODEL, *shorter, f"output={run}"])
    assert "Tracing, complete" in capsys.readouterr().out
    checkpoint = str(run / "checkpoints" / "last.pt")
    main(["extract", checkpoint, "-o", str(tmp_path / "mesh.ply")])
    capsys.readouterr()
    main(["info", checkpoint, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["layers"].startswith("7 > 8 > ")
    assert facts["cubes along a side"] == "2, 4"
    assert "384 simplices" in facts["regions"]
    assert facts["misses nothing"] is True


def test_subdivision_is_refused_before_any_work(tmp_path):
    with pytest.raises(SystemExit):
        main(["train", "experiment=smoke", "extractor=subdivide", *MODEL, f"output={tmp_path}/run"])
