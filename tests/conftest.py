"""Shared fixtures."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.sample_networks import load_network

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
        return load_network(path)

    return load
