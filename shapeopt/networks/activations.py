"""Smooth activations, as modules."""

import torch
from torch import Tensor, nn


class Sine(nn.Module):
    """sin(frequency x), as in Sitzmann et al., *SIREN* (NeurIPS 2020)."""

    def __init__(self, frequency: float = 1.0):
        super().__init__()
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return torch.sin(self.frequency * x)
