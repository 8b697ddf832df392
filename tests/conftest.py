"""Shared networks and surfaces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def reference_network():
    """Loader of the trained reference networks; skips where they are absent."""

    def load(name: str) -> nn.Sequential:
        path = REFERENCE / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"the reference network {name} is not on this machine")
        arrays = np.load(path)
        modules: list[nn.Module] = []
        for i in range(len(arrays.files) // 2):
            weight, bias = torch.tensor(arrays[f"W{i}"]), torch.tensor(arrays[f"b{i}"])
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight.data, linear.bias.data = weight, bias
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1])

    return load
