"""The training loop: fit the cloud, then shape the exact surface."""

import math
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data import PointCloud
from shapeopt.errors import InputError
from shapeopt.extraction.extract import extract_surface
from shapeopt.losses import FaceCount, FitLoss, GeometryLoss, SurfaceFitLoss
from shapeopt.output.run_log import RunLog
from shapeopt.training.batches import BatchSource
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.schedules import Cosine

Loss = FitLoss | GeometryLoss | SurfaceFitLoss
Extractor = Callable[[nn.Module], PolyhedralSurface]


@dataclass(frozen=True)
class Phase:
    """Steps with one learning-rate schedule.

    Attributes:
        steps: optimiser steps.
        learning_rate: largest learning rate of the phase.
        schedule: factor of the learning rate at a progress from 0 to 1.
        log_every: steps between two rows of the log.

    Raises:
        InputError: for a number out of its range.
    """

    steps: int
    learning_rate: float = 1e-3
    schedule: Callable[[float], float] = field(default_factory=Cosine)
    log_every: int = 1

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"a phase has {self.steps} steps; it must have 0 or more")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate is {self.learning_rate}; it must be positive")
        if self.log_every < 1:
            raise InputError(f"log_every is {self.log_every}; it must be at least 1")


FIT = Phase(20_000, 1e-2, log_every=100)
SHAPE = Phase(500, 1e-3)


class Training:
    """A network in training: what it is trained with, and how far it has come.

    In the *fit* phase only the fit losses count. In the *shape* phase the exact surface is
    extracted in every step, and the losses on it count too.
    ``Training(network, cloud, [Distance(1.0), EdgeLength(2e-6)]).run()`` is a whole training.

    Args:
        network: on the device to train on.
        cloud: the normalised point cloud.
        losses: on the network, on its surface, or on surface and cloud; by name, or in a list,
            which gives each the name of its class.
        batches: where the points of each step come from; ``BatchSource(cloud)`` if None.
        extract: gives the network's exact surface, differentiable; by subdivision in float64, in
            the box of the cloud, if None.
        fit, shape: the two phases.
        gradient_clip: largest norm of the gradient of all weights.
        checkpoint_every: steps between two checkpoints.
        config: resolved configuration, kept in the checkpoints: the commands build the network
            and its extractor from it again.

    Raises:
        InputError: without a fit loss, for two losses of one name, and for numbers out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        cloud: PointCloud,
        losses: Mapping[str, Loss] | Sequence[Loss],
        batches: BatchSource | None = None,
        extract: Extractor | None = None,
        *,
        fit: Phase = FIT,
        shape: Phase = SHAPE,
        gradient_clip: float = 1.0,
        checkpoint_every: int = 1000,
        config: dict[str, Any] | None = None,
    ):
        self.network, self.cloud = network, cloud
        self.losses = _by_name(losses)
        self.fit_losses = {k: v for k, v in self.losses.items() if isinstance(v, FitLoss)}
        self.geometry_losses = {k: v for k, v in self.losses.items() if isinstance(v, GeometryLoss)}
        self.surface_fit_losses = {
            k: v for k, v in self.losses.items() if isinstance(v, SurfaceFitLoss)
        }
        if not self.fit_losses:
            raise InputError("there is no fit loss; add one, for example with loss=[distance]")
        if gradient_clip <= 0 or checkpoint_every < 1:
            raise InputError("gradient_clip must be positive and checkpoint_every at least 1")
        device = next(network.parameters()).device
        self.batches = batches or BatchSource(cloud, device=device)
        self.extract: Extractor = extract or partial(extract_surface, dtype=torch.float64)
        self.fit, self.shape = fit, shape
        self.gradient_clip = gradient_clip
        self.checkpoint_every = checkpoint_every
        self.config = config or {}
        self.step = 0
        self.fitted: dict[str, Tensor] | None = None
        self.seconds = {"fit": 0.0, "shape": 0.0, "extraction": 0.0}
        self.optimizer = torch.optim.Adam(network.parameters())

    def run(self, log: RunLog | None = None, checkpoints: Path | None = None) -> bool:
        """Trains to the end, or to the first Ctrl-C; returns whether the end was reached.

        Into the folder ``checkpoints``, if there is one, goes ``last.pt``, every
        ``checkpoint_every`` steps and at the end, whatever ends the training; and ``fit.pt`` at
        the end of the fit phase, to try other shape phases from.

        Raises:
            InputError: if a gradient is not finite; the checkpoint holds the step before.
            EmptySurfaceError: if the surface vanishes in the shape phase.
        """
        total_steps = self.fit.steps + self.shape.steps
        with _interruptible() as interrupted, _progress_bar(self.step, total_steps) as bar:
            try:
                while self.step < total_steps and not interrupted():
                    scalars, surface = self._take_step()
                    self._report(scalars, surface, log, bar)
                    if checkpoints and self.step == self.fit.steps:
                        self.save(checkpoints / "fit.pt")
                    elif checkpoints and self.step % self.checkpoint_every == 0:
                        self.save(checkpoints / "last.pt")
            finally:
                if checkpoints:
                    self.save(checkpoints / "last.pt")
        return self.step == total_steps

    def _take_step(self) -> tuple[dict[str, Tensor | float], PolyhedralSurface | None]:
        """One optimiser step; returns its scalars, and the surface it started from."""
        started = time.perf_counter()
        phase, learning_rate = self._phase()
        if phase is self.shape and self.fitted is None:
            self._begin_shape_phase()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

        batch = self.batches.batch(self.network, self.step)
        terms = {name: loss(batch) for name, loss in self.fit_losses.items()}
        surface = None
        if phase is self.shape:
            surface = self._extract()
            terms |= {name: loss(surface) for name, loss in self.geometry_losses.items()}
            for name, surface_fit in self.surface_fit_losses.items():
                terms[name] = surface_fit(surface, batch, self.cloud)
        weighted = [self.losses[name].weight * term.double() for name, term in terms.items()]
        total = torch.stack(weighted).sum()

        self.optimizer.zero_grad()
        total.backward()
        self._clip_gradient()
        self.optimizer.step()
        self.step += 1

        seconds = time.perf_counter() - started
        self.seconds["fit" if surface is None else "shape"] += seconds
        scalars: dict[str, Tensor | float] = {
            f"loss/{name}": term.detach() for name, term in terms.items()
        }
        scalars |= {"loss/total": total.detach(), "learning_rate": learning_rate}
        return scalars | {"seconds/step": seconds}, surface

    def _phase(self) -> tuple[Phase, float]:
        """The phase of the coming step and its learning rate."""
        phase, step = self.fit, self.step
        if step >= self.fit.steps:
            phase, step = self.shape, step - self.fit.steps
        return phase, phase.learning_rate * phase.schedule(step / phase.steps)

    def _begin_shape_phase(self) -> None:
        self.fitted = _copy(self.network.state_dict())
        # Adam's moments are those of the fit's last, tiny steps: with new losses they overshoot.
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def _extract(self) -> PolyhedralSurface:
        started = time.perf_counter()
        surface = self.extract(self.network)
        self.seconds["extraction"] += time.perf_counter() - started
        return surface

    def _clip_gradient(self) -> None:
        try:
            nn.utils.clip_grad_norm_(
                self.network.parameters(), self.gradient_clip, error_if_nonfinite=True
            )
        except RuntimeError as error:
            raise InputError(
                f"the gradient is not finite in step {self.step}: the training has diverged. Try "
                "a smaller learning_rate, or smaller weights of the losses"
            ) from error

    def _report(
        self,
        scalars: Mapping[str, Tensor | float],
        surface: PolyhedralSurface | None,
        log: RunLog | None,
        bar: tqdm,
    ) -> None:
        """Shows and logs the step that was just taken, as often as its phase wants."""
        step = self.step - 1
        phase = self.fit if surface is None else self.shape
        bar.update()
        if step % phase.log_every and self.step not in (self.fit.steps, bar.total):
            return
        row = {name: float(value) for name, value in scalars.items()}
        shown = {"loss": f"{row['loss/total']:.2e}"}
        if surface is not None:
            surface = surface.detach()
            row |= surface_scalars(surface)
            shown["polygons"] = str(surface.num_faces)
            if log is not None and log.mesh_due(step):
                log.log_mesh(step, self.cloud.normalisation.undo_mesh(surface))
        if log is not None:
            log.log(step, row)
        bar.set_description("fit  " if surface is None else "shape", refresh=False)
        bar.set_postfix(shown, refresh=False)

    def save(self, path: Path) -> None:
        """Writes a checkpoint of the current state."""
        Checkpoint(
            self.step,
            _copy(self.network.state_dict()),
            self.fitted,
            self.optimizer.state_dict(),
            self.config,
            self.cloud.normalisation,
            self.seconds,
        ).save(path)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint of a training with the same settings.

        Raises:
            InputError: if the checkpoint's network has another shape.
        """
        try:
            self.network.load_state_dict(checkpoint.network)
        except RuntimeError as error:
            raise InputError(f"the checkpoint is of another network: {error}") from error
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step = checkpoint.step
        self.fitted = checkpoint.fitted
        self.seconds = dict(checkpoint.seconds)


def surface_scalars(surface: PolyhedralSurface) -> dict[str, float]:
    """The numbers of a surface worth a curve; lengths in units of its vertices."""
    angles, interior = surface.dihedral_angles()
    lengths = surface.edge_lengths()
    return {
        "surface/polygons": surface.num_faces,
        "surface/expected_polygons": float(FaceCount(1.0)(surface)),
        "surface/vertices": surface.num_vertices,
        "surface/edge_length_total": float(lengths.sum()),
        "surface/edge_length_mean": float(lengths.mean()),
        "surface/bending_mean_degrees": math.degrees(
            float((angles * lengths[interior]).sum() / lengths[interior].sum())
        ),
        "surface/area": float(surface.area()),
    }


def _by_name(losses: Mapping[str, Loss] | Sequence[Loss]) -> dict[str, Loss]:
    """EdgeLength becomes edge_length, as in the configuration."""
    if isinstance(losses, Mapping):
        return dict(losses)
    names = [re.sub(r"(?<!^)(?=[A-Z])", "_", type(loss).__name__).lower() for loss in losses]
    if len(set(names)) < len(names):
        raise InputError(f"two losses of one kind ({', '.join(names)}): name them, in a dict")
    return dict(zip(names, losses, strict=True))


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _progress_bar(done: int, total: int) -> tqdm:
    return tqdm(initial=done, total=total, desc="fit  ", unit="step", mininterval=0.5)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a flag, to finish the step at work; the second one kills."""
    pressed: list[int] = []

    def press(signum: int, frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
