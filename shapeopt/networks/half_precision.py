"""Networks in half precision, computed in float32."""

import torch
from torch import Tensor, nn

from shapeopt.errors import InputError

HALF = (torch.float16, torch.bfloat16)


class InFloat32(nn.Module):
    """The network with its weights made float32 in each pass, so that gradients reach them."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network computes."""
        state = {
            name: value.float() if value.dtype in HALF else value
            for name, value in (*self.network.named_parameters(), *self.network.named_buffers())
        }
        return torch.func.functional_call(self.network, state, (x,))


def is_half(network: nn.Module) -> bool:
    """Whether some of the weights are float16 or bfloat16."""
    tensors = (*network.parameters(), *network.buffers())
    return any(tensor.dtype in HALF for tensor in tensors)


def in_float32(network: nn.Module) -> nn.Module:
    """The network itself, or one that computes with its weights in float32 if they are less.

    Raises:
        InputError: for TorchScript in half precision, whose weights cannot be exchanged.
    """
    if not is_half(network):
        return network
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise InputError("a TorchScript module in half precision: call .float() on it first")
    return InFloat32(network)
