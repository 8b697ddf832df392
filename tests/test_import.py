"""`import shapeopt` is light."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["hydra", "omegaconf", "wandb", "trimesh", "matplotlib", "scipy", "igl", "pooch", "numba"]


@pytest.mark.parametrize("module", ["shapeopt", "shapeopt.losses", "shapeopt.data"])
def test_loads_nothing_heavy(module):
    code = f"import {module}, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_help_does_not_wait_for_torch():
    modules = "shapeopt.commands.main, shapeopt.commands.train, sys"
    code = f"import {modules}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"


def test_every_public_name_is_there():
    import shapeopt

    assert set(shapeopt.__all__) <= set(dir(shapeopt))
    for name in shapeopt.__all__:
        assert getattr(shapeopt, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        shapeopt.nonsense  # noqa: B018
