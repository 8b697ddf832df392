import sys
import time

import pytest
from tqdm import tqdm

from shapeopt.compiling import CompilingClock
from shapeopt.output.waiting import COMPILING, compiling_told, told


def test_long_work_is_told(capsys):
    with told("drawing ...", seconds=0.01):
        time.sleep(0.2)
    assert capsys.readouterr().err == "drawing ...\n"


def test_short_work_is_not(capsys):
    with told("drawing ...", seconds=0.05):
        pass
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_longer_work_is_told_again(capsys):
    with told("drawing ...", seconds=0.01, again=0.1):
        time.sleep(0.25)
    assert capsys.readouterr().err.startswith("drawing ...\ndrawing ... 0 s so far\n")


def test_a_word_stands_above_a_progress_bar(capsys):
    with tqdm(total=2, file=sys.stderr, ascii=True) as bar, told("drawing ...", seconds=0.01):
        time.sleep(0.2)
        bar.update()
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert "drawing ..." in lines


def compile_for(clock: CompilingClock, seconds: float) -> None:
    """A kernel that calls another one."""
    clock.start()
    clock.start()
    time.sleep(seconds)
    clock.end()
    clock.end()


def test_compiling_is_timed_and_told_once(capsys):
    clock = CompilingClock()
    with compiling_told(0.3, clock):
        for _ in range(2):
            compile_for(clock, 0.01)
        assert capsys.readouterr().err == ""
        for _ in range(3):
            compile_for(clock, 0.2)
    assert capsys.readouterr().err == COMPILING + "\n"
    assert clock.seconds == pytest.approx(0.62, abs=0.5)
    with compiling_told(0.3, clock):
        compile_for(clock, 0.01)
    assert capsys.readouterr().err == ""
    assert clock.watchers == []
