import io
import os
import subprocess
import sys

import pytest

from shapeopt.output.terminal import printable, show, show_table

ROWS = [{"": "expected (L²/πA)", "after": "1"}, {"": "V - E + F", "after": "12 R³"}]


@pytest.mark.parametrize(
    ("encoding", "first"),
    [
        ("utf-8", "expected (L²/πA)"),
        ("cp1252", "expected (L^2/piA)"),
        ("ascii", "expected (L^2/piA)"),
        ("latin-1", "expected (L^2/piA)"),
        ("cp437", "expected (L²/πA)"),
    ],
)
def test_a_table_on_any_terminal(monkeypatch, encoding, first):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    show_table(ROWS)
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    assert lines[1].startswith(first)
    assert len({len(line) for line in lines}) == 1  # the columns stand under each other


def test_letters_that_are_not_known_are_replaced():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert printable("Häuschen/π²", stream) == "H?uschen/pi^2"
    show("Häuschen", stream)
    stream.flush()
    assert stream.buffer.getvalue().split() == [b"H?uschen"]
    assert printable("Häuschen", io.StringIO()) == "Häuschen"  # no encoding at all


@pytest.mark.parametrize(
    "settings",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
    ],
    ids=str,
)
def test_a_process_with_such_a_terminal(settings):
    code = f"from shapeopt.output.terminal import show_table; show_table({ROWS!a})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=os.environ | settings, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"expected (L^2/piA)" in done.stdout
