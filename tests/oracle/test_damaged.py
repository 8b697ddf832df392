"""Damaged files: an error or a sound result. `experiments/trust/fuzz.py` tries many more."""

import subprocess
import sys

import pytest

from tests.oracle.damaged import CHECKPOINTS, hostile, read_one, sources
from tests.oracle.mutations import mutated


@pytest.mark.parametrize("number", range(0, 400, 4))
def test_an_error_or_a_sound_result(tmp_path, number):
    _, outcome, detail = read_one(number, tmp_path)
    assert outcome in ("error", "result"), detail


@pytest.mark.campaign
def test_many_more(tmp_path):
    wrong = [
        (number, found)
        for number in range(100_000)
        for found in [read_one(number, tmp_path)]
        if found[1] not in ("error", "result")
    ]
    assert not wrong


def test_damage_is_the_same_each_time_and_does_something():
    data = CHECKPOINTS[0].read_bytes()
    assert mutated(data, "pt", [data], 5) == mutated(data, "pt", [data], 5)
    others = [file for suffix, file, _ in sources() if suffix == "obj"]
    assert sum(mutated(others[0], "obj", others, n) != others[0] for n in range(50)) > 40


def test_what_would_run_a_command_does_so_where_it_is_trusted(tmp_path):
    """Otherwise that nothing runs would be no finding."""
    (_, data, _), *_ = hostile()
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    code = f"""
import sys, numpy
ran = []
sys.addaudithook(lambda event, _: ran.append(event) if event == "os.system" else None)
numpy.load({str(path)!r}, allow_pickle=True)
print(ran[:1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['os.system']"
