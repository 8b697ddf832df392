"""`import shapeopt` is light, and the README's code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["hydra", "omegaconf", "wandb", "trimesh", "matplotlib", "scipy", "igl", "pooch", "numba"]


@pytest.mark.parametrize("module", ["shapeopt", "shapeopt.losses", "shapeopt.data"])
def test_loads_nothing_heavy(module):
    code = f"import {module}, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_the_code_in_the_readme_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["surface"].num_faces > 0
    assert all(isinstance(p.grad, torch.Tensor) for p in names["net"].parameters())
    assert (tmp_path / "shape.ply").exists()
