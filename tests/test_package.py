"""The command as a user finds it, and what a wheel brings along."""

import contextlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import shapeopt.shipped
from shapeopt.commands.extract import CELLS
from shapeopt.commands.main import main
from shapeopt.data import load
from shapeopt.data.formats import KNOWN
from shapeopt.output.export import WRITERS
from shapeopt.shipped import find_file, shipped_folder

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ["train", "extract", "info", "evaluate", "simplify", "lowpoly", "view"]


def helped(capsys, *arguments: str) -> str:
    with contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def test_help_names_the_commands(capsys):
    text = helped(capsys)
    assert all(re.search(rf"^ +{command} +\w", text, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", ["experiment=bunny", "stanford_bunny", "polygon_roundness", "steps: 20_000"]),
        ("extract", ["FILE", ".stl", "subdivide", "(default: 32)"]),
        ("evaluate", ["GROUND_TRUTH", "(default: 100000)", "--json"]),
        ("simplify", ["-o FILE", "(default: 0.001)", "--triangles"]),
        ("info", ["MODEL", "--cells", "(default: mlp)"]),
        ("lowpoly", ["SCAN", "(default: 1.0)", "--faces"]),
        ("view", ["RUN_OR_FILE", "(default: 8080)", "--up"]),
    ],
)
def test_help_shows_choices_and_defaults(capsys, command, words):
    text = helped(capsys, command)
    assert text.startswith(f"usage: shapeopt {command}")
    assert [word for word in words if word not in text] == []
    assert max(map(len, text.splitlines())) <= 110


def test_help_lists_the_formats_that_there_are(capsys):
    """Of the readers and writers themselves; README and settings list them, too."""
    words = helped(capsys, "evaluate")
    settings = (ROOT / "conf" / "data" / "bunny.yaml").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for text in (words, settings, readme):
        assert [suffix for suffix in KNOWN if suffix not in text] == []
    for text in (helped(capsys, "extract"), readme):
        assert [suffix for suffix in (*WRITERS, CELLS) if suffix not in text] == []


@pytest.mark.thorough
def test_the_settings_of_a_training_are_printed():
    command = [sys.executable, "-m", "shapeopt", "train", "experiment=smoke", "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "name: smoke" in done.stdout
    assert "width: 8" in done.stdout


def test_a_checkout_has_its_files_at_its_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped_folder() == ROOT
    assert find_file("data/bunny.ply") == ROOT / "data" / "bunny.ply"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bunny.ply").touch()
    assert find_file("data/bunny.ply") == Path("data/bunny.ply")
    assert find_file("nowhere.ply") == Path("nowhere.ply")


def test_a_wheel_has_them_inside(tmp_path, monkeypatch):
    """As pyproject.toml arranges them."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    sources = wheel["targets"]["wheel"]["sources"]
    assert {"conf", "data/bunny.ply"} <= set(wheel["targets"]["wheel"]["only-include"])
    assert sources == {"conf": "shapeopt/share/conf", "data": "shapeopt/share/data"}
    package = tmp_path / "shapeopt"
    (package / "share" / "data").mkdir(parents=True)
    bunny = package / "share" / "data" / "bunny.ply"
    bunny.write_bytes((ROOT / "data" / "bunny.ply").read_bytes())
    monkeypatch.setattr(shapeopt.shipped, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    assert find_file("data/bunny.ply") == bunny
    assert len(load("data/bunny.ply").points) == 20_000
