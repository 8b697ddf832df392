import pytest

from shapeopt import InputError
from shapeopt.training.schedules import Cosine, Step


def test_cosine_rises_and_falls():
    schedule = Cosine(warmup=0.1, final=0.01)
    assert schedule(0.0) == pytest.approx(0.01)
    assert schedule(0.1) == pytest.approx(1.0)
    assert schedule(0.55) == pytest.approx(0.505)
    assert schedule(1.0) == pytest.approx(0.01)


def test_step_drops():
    schedule = Step(drops=3, factor=0.5)
    assert [schedule(p) for p in (0.0, 0.24, 0.26, 0.6, 0.9, 1.0)] == [
        1, 1, 0.5, 0.25, 0.125, 0.125
    ]  # fmt: skip


@pytest.mark.parametrize(
    "build", [lambda: Cosine(warmup=1.0), lambda: Cosine(final=2.0), lambda: Step(factor=0.0)]
)
def test_settings_are_checked(build):
    with pytest.raises(InputError, match="schedule"):
        build()
