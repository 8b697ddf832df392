"""What is misspelt is one line with what there is, and what may be meant."""

import pytest

from shapeopt.commands.main import main


def said(monkeypatch, *words: str) -> str:
    monkeypatch.setattr("sys.argv", ["shapeopt"])
    with pytest.raises(SystemExit) as end:
        main(["train", "--cfg", "job", *words])
    return str(end.value.code)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("experiment=buny", "there is no experiment=buny (did you mean bunny?); there are ball, "),
        ("loss=[distance,smothness]", "no loss=smothness (did you mean smoothness?); there are"),
        ("model=tree", "no model=tree; there are convex_union, dense_mlp, encoded, relu_mlp"),
        ("modell=relu_mlp", "no setting modell (did you mean model?); shapeopt train --help"),
        ("model.widht=3", "no setting model.widht (did you mean model.width?)"),
        ("training.fit.step=3", "no setting training.fit.step (did you mean training.fit.steps?)"),
        (
            "losses.edge_length.wieght=1",
            "no setting losses.edge_length.wieght (did you mean losses.edge_length.weight?)",
        ),
    ],
)
def test_one_line_names_the_nearest(monkeypatch, setting, line):
    text = said(monkeypatch, setting)
    assert text.startswith("error: there is no ")
    assert line in text
    assert "\n" not in text
    assert "Config search path" not in text


def test_what_is_wrong_otherwise_is_told_as_it_was(monkeypatch):
    assert "no viable alternative at input" in said(monkeypatch, "model.width=[3")
