"""One experiment from its configuration: data, network, training, results."""

import gc
import random
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from shapeopt.complex.box import Bounds, Box
from shapeopt.data import PointCloud
from shapeopt.errors import ExtractionError, InputError
from shapeopt.output.files import remove_leftovers, write_whole
from shapeopt.output.run_log import RunLog
from shapeopt.output.terminal import show
from shapeopt.output.waiting import told
from shapeopt.training.batches import BatchSource
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.config import build, build_extraction
from shapeopt.training.earlier_run import check_free
from shapeopt.training.folder_lock import locked
from shapeopt.training.interruption import stop_now
from shapeopt.training.loop import Training
from shapeopt.training.results import write_results
from shapeopt.training.settings import check_settings
from shapeopt.training.threads import choose_threads


def run(config: DictConfig, folder: Path, resume: Path | None = None) -> None:
    """Trains as configured and leaves all outputs in the folder.

    Args:
        config: of the experiment, see ``conf/config.yaml``.
        folder: for the outputs; made if it is not there, and gone again if nothing came of it. It
            is held until the end.
        resume: a checkpoint to go on from.

    Raises:
        InputError: for wrong settings or data, or a folder that another training holds or has
            left its results in, before any long work starts; for a training that diverged, when
            all it came to is written.
        KeyboardInterrupt: if Ctrl-C or SIGTERM ended it, with the signal's number; what it came to
            is written, and how to go on has been printed.
        OSError: if a file cannot be written; names it.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    check_settings(plain)
    with locked(folder) as hold_again, stop_now():
        check_free(config, folder, resume)
        for part in (folder, folder / "checkpoints", folder / "meshes"):
            remove_leftovers(part)
        # What refuses to begin leaves nothing behind, so the configuration comes last.
        training = _prepared(config, plain, folder, resume)
        open_log = build(config.logging)
        with open_log(
            output_dir=folder, config=plain, start_step=training.step, on_removed=hold_again
        ) as log:
            write_whole(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True).encode())
            _train(training, config, folder, log)


def _prepared(
    config: DictConfig, plain: dict[str, Any], folder: Path, resume: Path | None
) -> Training:
    """The training before its first step, or where the checkpoint left it."""
    checkpoint = Checkpoint.load(resume) if resume else None
    with told("setting up the network and the losses ..."):
        device = choose_device(config.device)
        make_deterministic(config.seed)
        network: nn.Module = build(config.model).to(device)
        if checkpoint is not None:
            checkpoint.check_is_of(network)
        losses = build(config.losses)
        extract = build_extraction(config)
        phases = {name: build(config.training[name]) for name in ("fit", "shape")}
    weights = sum(p.numel() for p in network.parameters())
    batch_size = plain["batches"].get("batch_size", 4096)
    torch.set_num_threads(choose_threads(plain.get("threads", "auto"), weights, batch_size))

    with told("reading the data; normals that are not there are estimated ..."):
        cloud: PointCloud = build(config.data)
    _check_bounds(plain["surface"]["bounds"], cloud)
    show(f"{len(cloud.points):,} points, {weights:,} weights, on {device}; output in {folder}")
    with told("measuring the distance of points in space to the cloud ..."):
        batches = BatchSource(cloud, seed=config.seed, device=device, **plain["batches"])
    settings = plain["training"] | phases
    with told("setting up the optimiser ..."):
        training = Training(network, cloud, losses, batches, extract, **settings, config=plain)
    if checkpoint is not None:
        training.restore(checkpoint)
        show(f"resuming at step {training.step:,}")
    return training


def _check_bounds(bounds: Bounds, cloud: PointCloud) -> None:
    """That the box of the surface holds some of the cloud: elsewhere there will be none of it."""
    points = cloud.points
    box = Box.from_bounds(bounds, points.shape[1], points.dtype, points.device)
    if not bool(((points >= box.lower) & (points <= box.upper)).all(dim=1).any()):
        raise InputError(
            f"surface.bounds={bounds}: none of the {len(points):,} points is in this box; in "
            "normalised units all of them are between -0.5 and 0.5"
        )


def _train(training: Training, config: DictConfig, folder: Path, log: RunLog) -> None:
    """Trains; then writes what there is, however the training ended."""
    try:
        with _little_garbage():
            finished = training.run(log, folder / "checkpoints")
    except BaseException as error:
        # A finished fit is worth its mesh whatever became of the rest; but a second Ctrl-C is
        # meant: then the process ends at once.
        if isinstance(error, Exception) and training.fitted is not None:
            try:
                write_results(training, config, folder, log)
            except (InputError, ExtractionError, OSError, KeyboardInterrupt):
                show(f"not all results could be written to {folder}", sys.stderr)
        if training.saved is not None:
            path, step = training.saved
            show(f"the state at step {step:,} is kept; go on with: {resume_command(path, folder)}")
        raise
    resume = resume_command(folder / "checkpoints" / "last.pt", folder)
    if not finished:
        show(f"interrupted at step {training.step:,}; go on with: {resume}")
    try:
        write_results(training, config, folder, log)
    except (OSError, KeyboardInterrupt):
        show(f"not all results could be written to {folder}; for all of them: {resume}")
        raise
    if not finished:
        raise KeyboardInterrupt(training.stopped_by)


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Leaves the hundreds of thousands of objects that are there out of the search for garbage: it
    took 0.15 s, every 200 steps of a small training."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def resume_command(checkpoint: Path, folder: Path) -> str:
    """What to type to go on in a folder, in quotes where Hydra and a shell want them."""
    return f"shapeopt train {_setting('resume', checkpoint)} {_setting('output', folder)}"


def _setting(name: str, path: Path) -> str:
    value = path.as_posix()
    if not re.fullmatch(r"[A-Za-z0-9_./:-]+", value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return shlex.quote(f"{name}={value}")


def choose_device(name: str) -> torch.device:
    """The device to train on: "auto" is a GPU if there is one, else the CPU.

    Raises:
        InputError: for a device this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device={name}: it can be auto, cpu, cuda or cuda:1") from error
    try:
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
