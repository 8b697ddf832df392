"""``shapeopt compare``: one row for each training, and who beats whom."""

import json
from pathlib import Path

import pytest
import yaml

from shapeopt.commands.compare import differing, names, pareto, read_runs
from shapeopt.commands.main import main
from shapeopt.commands.pareto_plot import BEATEN, BEST, Mark, pareto_plot

NUMBERS = {"hausdorff": 0.05, "bending_mean_degrees": 20.0}


def leave(
    folder: Path,
    polygons: int,
    distance: float | None,
    topology: dict[str, int] | None = None,
    **settings: object,
) -> None:
    """A finished training."""
    config = {
        "output": str(folder),
        "model": {"_target_": "shapeopt.networks.sdf_network", "width": 8} | settings,
        "losses": {"distance": {"_target_": "shapeopt.losses.Distance", "weight": 1}},
    }
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    before = NUMBERS | {"polygons": 9999, "distance": 9.0}
    after = NUMBERS | {"polygons": polygons, "distance": distance} | (topology or {})
    facts = {
        "name": "test",
        "finished": True,
        "step": 5,
        "seconds": {"fit": 10.0, "shape": 2.5, "extraction": 2.0},
        "surfaces": {"before": before, "after": after},
    }
    (folder / "results.json").write_text(json.dumps(facts))


@pytest.fixture
def sweep(tmp_path) -> Path:
    leave(tmp_path / "10_width=16", 300, 3e-3, width=16)
    leave(tmp_path / "2_width=8", 100, 5e-3)
    leave(tmp_path / "3_width=9", 120, 6e-3, width=9)  # beaten
    leave(tmp_path / "4_width=10", 200, None, width=10)  # its distance was not finite
    return tmp_path


def table(capsys) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_sweep_is_one_table(sweep, capsys):
    main(["compare", str(sweep)])
    head, *lines = table(capsys)
    assert head == ["width", "polygons", "distance", "largest", "bending", "seconds", "best"]
    assert lines[:4] == [
        ["2_width=8", "8", "100", "5.00", "50.0", "20.00", "12", "*"],
        ["3_width=9", "9", "120", "6.00", "50.0", "20.00", "12"],
        ["4_width=10", "10", "200", "-", "50.0", "20.00", "12"],
        ["10_width=16", "16", "300", "3.00", "50.0", "20.00", "12", "*"],
    ]
    assert (sweep / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_are_those_that_none_beats(sweep):
    assert [run.folder.name for run in pareto(read_runs(sweep))] == ["2_width=8", "10_width=16"]


def test_what_was_proven_stands_beside(tmp_path, capsys):
    leave(tmp_path / "a", 100, 1e-3, {"closed": 1, "components": 2, "genus": 3})
    leave(tmp_path / "b", 90, 2e-3, {"closed": 0, "components": 1}, width=9)
    leave(tmp_path / "earlier", 80, 3e-3, width=10)
    main(["compare", str(tmp_path)])
    head, *lines = table(capsys)
    assert head[-5:] == ["closed", "parts", "genus", "seconds", "best"]
    assert [line[-5:-2] for line in lines[:3]] == [
        ["yes", "2", "3"],
        ["no", "1", "-"],
        ["-", "-", "-"],
    ]


def test_a_setting_that_follows_another_is_shown_once(tmp_path):
    for seed in (0, 1):
        leave(tmp_path / str(seed), 100, 1e-3, seed=seed, sampling={"seed": seed, "more": -seed})
    assert differing(read_runs(tmp_path)) == ["model.seed", "model.sampling.more"]


def test_runs_are_called_by_what_differs(sweep):
    runs = read_runs(sweep)
    assert names(runs, sweep) == ["width 8", "width 9", "width 10", "width 16"]
    assert names(runs[:1], sweep) == ["2_width=8"]


def test_names_in_the_plot_stand_apart(monkeypatch):
    """Of twelve points in a crowd, read back from the figure."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *a, **k: figures.append(a[0]) or save(*a, **k))
    best = [Mark(f"width {i}, depth 2", (100 + 3 * i, 5 - 0.1 * i), BEST) for i in range(6)]
    rest = [Mark(f"width {i}, depth 3", (102 + 3 * i, 5.1 - 0.1 * i), BEATEN) for i in range(6)]
    assert pareto_plot(best, rest, "distance", "png").startswith(b"\x89PNG")
    axes = figures[0].axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 12
    for i, box in enumerate(boxes):
        assert axes.get_window_extent().padded(1).contains(*box.min)
        assert not any(box.overlaps(other.padded(-1)) for other in boxes[:i])


def test_folders_of_trainings(sweep, capsys, tmp_path):
    out = tmp_path / "plot.svg"
    main(["compare", str(sweep / "2_width=8"), str(sweep / "3_width=9"), "-o", str(out)])
    assert [line[0] for line in table(capsys)[1:3]] == ["2_width=8", "3_width=9"]
    assert "<svg" in out.read_text()


def test_folders_given_from_here_and_from_the_root(sweep, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(sweep)
    main(["compare", "2_width=8", str(sweep / "3_width=9"), "-o", str(tmp_path / "plot.png")])
    assert [line[0] for line in table(capsys)[1:3]] == ["2_width=8", "3_width=9"]


def test_what_is_not_finished_is_said(sweep, capsys):
    facts = json.loads((sweep / "2_width=8" / "results.json").read_text())
    (sweep / "2_width=8" / "results.json").write_text(json.dumps(facts | {"finished": False}))
    (sweep / "3_width=9" / "results.json").unlink()
    (sweep / "3_width=9" / "error.txt").write_text("the width is 9")
    (sweep / "4_width=10" / "results.json").unlink()
    main(["compare", str(sweep)])
    printed = capsys.readouterr().out
    assert "2_width=8: stopped at step 5" in printed
    assert "3_width=9: failed: the width is 9" in printed
    assert "4_width=10: no results: it is running, or was stopped" in printed


def test_other_losses_and_choices_are_told_apart(tmp_path, capsys):
    for name, losses in {"a": ["distance"], "b": ["distance", "area"]}.items():
        leave(tmp_path / name, 100, 1e-3)
        config = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        config["losses"] = {n: {"_target_": f"shapeopt.losses.{n}", "weight": 1} for n in losses}
        config["extractor"] = {"_target_": f"shapeopt.{name}", name: 1}
        text = yaml.safe_dump(config, sort_keys=False)
        (tmp_path / name / "config.yaml").write_text(text)
    main(["compare", str(tmp_path)])
    head, a, b, *_ = table(capsys)
    assert head[:2] == ["losses", "extractor"]
    assert (a[1:3], b[1:3]) == (["distance", "a"], ["distance+area", "b"])


def test_wrong_folders_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^error: there is no training in"):
        main(["compare", str(tmp_path)])
    leave(tmp_path / "run", 1, 1.0)
    with pytest.raises(SystemExit, match=r"^error: .*plot\.xyz"):
        main(["compare", str(tmp_path), "-o", str(tmp_path / "plot.xyz")])
    (tmp_path / "run" / "results.json").write_text("{")
    with pytest.raises(SystemExit, match=r"^error: .*results\.json is damaged"):
        main(["compare", str(tmp_path)])
