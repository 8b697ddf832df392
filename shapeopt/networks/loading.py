"""Networks from files of other programs. Nothing in a file is run as Python code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shapeopt.errors import InputError
from shapeopt.networks.onnx_network import load_onnx
from shapeopt.networks.state_dicts import network_from_weights

SUFFIXES = (".onnx", ".pt", ".pth", ".npz", ".safetensors")
OF_SHAPEOPT = {"config", "network", "optimizer", "step"}
"""Keys of a checkpoint of shapeopt's training."""


def load_network(
    path: str | Path,
    *,
    architecture: str | None = None,
    beta: float | None = None,
    output: str | None = None,
    inputs: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A network for :func:`shapeopt.extract_surface` from a file.

    Args:
        path: an ONNX graph (``.onnx``), a TorchScript module (``.pt``, ``.pth``), or weights by
            name (``.pt``, ``.pth``, ``.npz``, ``.safetensors``).
        architecture: of weights by name, see
            :func:`shapeopt.networks.state_dicts.network_from_weights`; ``"mlp"`` if None.
        beta: with weights by name: of the softplus between layers; ReLU if None.
        output: with ONNX: name of the output to take, if there are several.
        inputs: values of other inputs than the points, the same for each of them: by name with
            ONNX, and ``{"latent": code}`` with an architecture.

    Returns:
        The network, on the CPU and in eval mode. Gradients reach its weights.

    Raises:
        InputError: if there is no such file, it is damaged or of another kind, or something in it
            is not known.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: networks are read from {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if suffix == ".onnx":
        _refuse(path, architecture=architecture, beta=beta)
        return load_onnx(path, output, inputs).eval()
    if is_script(path):
        _refuse(path, architecture=architecture, beta=beta, output=output, inputs=inputs)
        return _script(path)
    _refuse(path, output=output)
    latent = dict(inputs or {})
    code = latent.pop("latent", None)
    if latent:
        raise InputError(f"{path}: inputs {', '.join(latent)}; weights by name know 'latent' alone")
    try:
        state = _weights(path, suffix)
        return network_from_weights(state, architecture or "mlp", code, beta).eval()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _refuse(path: Path, **settings: object) -> None:
    given = [name for name, value in settings.items() if value is not None]
    if given:
        raise InputError(f"{path}: {', '.join(given)} has no meaning for a file of this kind")


def is_script(path: Path) -> bool:
    """Whether the file comes from ``torch.jit.save``."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _script(path: Path) -> nn.Module:
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # a damaged archive can fail in any way
        raise InputError(f"{path} is no TorchScript file, or damaged") from error


def _weights(path: Path, suffix: str) -> dict[str, Tensor]:
    try:
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays}
        if suffix == ".safetensors":
            return _safetensors(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # damaged archives can fail in any way
        raise InputError(
            "it is damaged, or holds Python objects, which are not loaded because that runs code; "
            "save network.state_dict(), or export the network to ONNX or TorchScript"
        ) from error
    return _state_dict(state)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise InputError("reading it takes the safetensors package: pip install safetensors") from (
            error
        )
    return load_file(path)


def _state_dict(saved: Any) -> dict[str, Tensor]:
    """The weights in what was saved: all of it, or one entry."""
    if isinstance(saved, dict) and saved.keys() >= OF_SHAPEOPT:
        raise InputError(
            "it is a checkpoint of shapeopt, which has its own box: shapeopt extract reads it "
            "without settings of networks, such as --bounds, and in Python "
            "shapeopt.training.checkpoints.Checkpoint.load(path).rebuilt_network()"
        )
    found = [part for part in (saved, *_values(saved)) if _is_state_dict(part)]
    if len(found) != 1:
        raise InputError(f"it holds {len(found)} state dicts of a network; save one by itself")
    return found[0]


def _values(saved: Any) -> list[Any]:
    return list(saved.values()) if isinstance(saved, dict) else []


def _is_state_dict(part: Any) -> bool:
    is_filled = isinstance(part, dict) and bool(part)
    return is_filled and all(isinstance(value, Tensor) for value in part.values())
