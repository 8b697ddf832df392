"""One experiment from its configuration: data, network, training, results."""

import random
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from shapeopt.data import PointCloud
from shapeopt.errors import InputError
from shapeopt.training.batches import BatchSource
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.config import build, build_extraction
from shapeopt.training.loop import Training
from shapeopt.training.results import write_results


def run(config: DictConfig, folder: Path, resume: Path | None = None) -> bool:
    """Trains as configured and leaves all outputs in the folder.

    Args:
        config: of the experiment, see ``conf/config.yaml``.
        folder: for the outputs; made if it is not there.
        resume: a checkpoint to go on from.

    Returns:
        Whether the training reached its end, and was not interrupted.

    Raises:
        InputError: for wrong settings or data, before any long work starts.
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    checkpoint = Checkpoint.load(resume) if resume else None
    device = choose_device(config.device)
    make_deterministic(config.seed)

    network: nn.Module = build(config.model).to(device)
    losses = build(config.losses)
    extract = build_extraction(config)
    phases = {name: build(config.training[name]) for name in ("fit", "shape")}
    cloud: PointCloud = build(config.data)
    print(
        f"{len(cloud.points):,} points, {sum(p.numel() for p in network.parameters()):,} weights, "
        f"on {device}; output in {folder}"
    )
    training = Training(
        network,
        cloud,
        losses,
        BatchSource(cloud, seed=config.seed, device=device, **plain["batches"]),
        extract=extract,
        **phases,
        gradient_clip=config.training.gradient_clip,
        checkpoint_every=config.training.checkpoint_every,
        config=plain,
    )
    if checkpoint is not None:
        training.restore(checkpoint)
        print(f"resuming at step {training.step:,}")
    open_log = build(config.logging)
    with open_log(output_dir=folder, config=plain, start_step=training.step) as log:
        finished = training.run(log, folder / "checkpoints")
        write_results(training, folder, log, config.name, config.up, config.evaluation_samples)
    if not finished:
        print(
            f"interrupted at step {training.step:,}; go on with: "
            f"shapeopt train resume={folder / 'checkpoints' / 'last.pt'}"
        )
    return finished


def choose_device(name: str) -> torch.device:
    """The device to train on: "auto" is a GPU if there is one, else the CPU.

    Raises:
        InputError: for a device this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={name} cannot be used here: {error}") from error
    return device


def make_deterministic(seed: int) -> None:
    """Same seed, same machine, same result; and full float32 precision in matrix products."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
