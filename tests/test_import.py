"""`import shapeopt` is light, and the README's code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trimesh

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


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_extraction_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(blocks()[0], "README.md", "exec"), names)
    assert names["surface"].num_faces > 0
    assert all(isinstance(p.grad, torch.Tensor) for p in names["net"].parameters())
    assert (tmp_path / "shape.ply").exists()


def test_the_training_in_the_readme_runs(tmp_path, monkeypatch):
    """With fewer steps, and fewer points to draw them from."""
    from shapeopt.training import Phase, batches

    code = blocks()[1]
    steps = {"Phase(5000, 1e-2)": "Phase(100, 1e-2)", "Phase(200)": "Phase(3)"}
    for written, short in steps.items():
        assert written in code
        code = code.replace(written, short)
    sample = batches.sample_training_points
    monkeypatch.setattr(
        batches,
        "sample_training_points",
        lambda cloud, n, *rest: sample(cloud, n // 50, *rest),
    )
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["training"].step == 103
    assert names["training"].shape == Phase(3)
    low, high = trimesh.load(tmp_path / "bunny.ply").bounds
    assert (high - low).max() > 0.5
