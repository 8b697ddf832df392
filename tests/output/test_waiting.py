import time

from shapeopt.output.waiting import told


def test_long_work_is_told(capsys):
    with told("drawing ...", seconds=0.01):
        time.sleep(0.2)
    assert capsys.readouterr().err == "drawing ...\n"


def test_short_work_is_not(capsys):
    with told("drawing ...", seconds=0.05):
        pass
    time.sleep(0.2)
    assert capsys.readouterr().err == ""
