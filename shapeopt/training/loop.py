"""The training loop: fit the cloud, then shape the exact surface."""

import logging
import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from shapeopt.compiling import clock, working_time
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data import PointCloud
from shapeopt.errors import ExtractionError, InputError
from shapeopt.extraction.extract import extract_surface
from shapeopt.losses import FaceCount, FitLoss, GeometryLoss, SurfaceFitLoss
from shapeopt.networks.reading import read_network
from shapeopt.output.run_log import RunLog
from shapeopt.output.waiting import EXTRACTING, told
from shapeopt.training.batches import BatchSource
from shapeopt.training.checkpoints import Checkpoint, State
from shapeopt.training.divergence import bad_gradients, bad_values, diverged, lost_surface
from shapeopt.training.interruption import stop_later
from shapeopt.training.phases import FIT, SHAPE, Phase
from shapeopt.training.surface_scalars import surface_scalars

Loss = FitLoss | GeometryLoss | SurfaceFitLoss
Extractor = Callable[[nn.Module], PolyhedralSurface]
logger = logging.getLogger(__name__)
KEPT = 12
"""States of the shape phase that are kept, to see how the surface moved: weights are small."""


class SurfaceLostError(Exception):
    """The network of a shape phase has no surface, or one that a loss cannot measure."""


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
        setbacks: how often the shape phase may go back a step, with half the learning rate from
            there on, because the surface vanished or a loss on it could not be measured.
        config: resolved configuration, kept in the checkpoints: the commands build the network
            and its extractor from it again.

    Raises:
        InputError: without a fit loss, for two losses of one name, for numbers out of range, and
            for a network that is not piecewise affine, unless there is no shape phase.
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
        setbacks: int = 5,
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
        if not gradient_clip > 0 or checkpoint_every < 1 or setbacks < 0:
            raise InputError(
                f"gradient_clip ({gradient_clip}) must be positive, checkpoint_every "
                f"({checkpoint_every}) at least 1 and setbacks ({setbacks}) at least 0"
            )
        if shape.steps:
            read_network(network, cloud.points.shape[1])  # what has no exact surface is refused now
        device = next(network.parameters()).device
        self.batches = batches or BatchSource(cloud, device=device)
        self.extract: Extractor = extract or partial(extract_surface, dtype=torch.float64)
        self.fit, self.shape = fit, shape
        self.gradient_clip = gradient_clip
        self.checkpoint_every = checkpoint_every
        self.most_setbacks = setbacks
        self.config = config or {}
        self.step = 0
        self.setbacks = 0
        self.good: State | None = None
        self.saved: tuple[Path, int] | None = None
        self.stopped_by: signal.Signals | None = None
        self._is_whole = True
        self._extracted = False
        self._last_logged = -1
        self.fitted: dict[str, Tensor] | None = None
        self.first_polygons: float | None = None
        self.history: dict[int, dict[str, Tensor]] = {}
        self.seconds = {"fit": 0.0, "shape": 0.0, "extraction": 0.0, "compiling": 0.0}
        self.optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def run(self, log: RunLog | None = None, checkpoints: Path | None = None) -> bool:
        """Trains to the end, or to the first Ctrl-C or SIGTERM; returns whether to the end.

        Which signal it was is in ``stopped_by``, and which checkpoint was written last, of which
        step, in ``saved``. Into the folder ``checkpoints``, if there is one,
        goes ``last.pt``, every ``checkpoint_every`` steps, twelve times in the shape phase and at
        the end, whatever ends the training; and ``fit.pt`` at the end of the fit phase, to try
        other shape phases from.

        Raises:
            InputError: if a loss or gradient is not finite, or the surface was lost too often in
                the shape phase; the checkpoint holds the last good state.
            EmptySurfaceError: if the fitted network has no surface.
            OSError: if a checkpoint cannot be written.
        """
        total_steps = self.fit.steps + self.shape.steps
        with stop_later() as stopped_by, _progress_bar(self.step, total_steps) as bar:
            try:
                while self.step < total_steps and stopped_by() is None:
                    try:
                        scalars, surface = self._take_step()
                    except SurfaceLostError as lost:
                        self._go_back(lost)
                        continue
                    self._report(scalars, surface, log, bar)
                    if checkpoints and self.step == self.fit.steps:
                        self.save(checkpoints / "fit.pt")
                    elif checkpoints and self._is_due():
                        self.save(checkpoints / "last.pt")
            finally:
                if checkpoints and self._is_sound():
                    self.save(checkpoints / "last.pt")
                self.stopped_by = stopped_by()
        return self.step == total_steps

    def _take_step(self) -> tuple[dict[str, Tensor | float], PolyhedralSurface | None]:
        """One optimiser step; returns its scalars, and the surface it started from."""
        started, compiled = working_time(), clock.seconds
        phase, learning_rate = self._phase()
        if phase is self.shape and self.fitted is None:
            self._begin_shape_phase()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

        terms, surface = self._measure(phase)
        weighted = [w * terms[name].double() for name, w in self._weights(terms).items()]
        total = torch.stack(weighted).sum()
        self.optimizer.zero_grad()
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_clip)
        if not torch.isfinite(total.detach() + norm):
            raise InputError(self._divergence(terms, phase, learning_rate))
        self._update()
        if phase is self.shape:
            self._keep()

        seconds = working_time() - started
        self.seconds["compiling"] += clock.seconds - compiled
        self.seconds["fit" if surface is None else "shape"] += seconds
        scalars: dict[str, Tensor | float] = {
            f"loss/{name}": term.detach() for name, term in terms.items()
        }
        scalars |= {"loss/total": total.detach(), "learning_rate": learning_rate}
        return scalars | {"seconds/step": seconds}, surface

    def _phase(self) -> tuple[Phase, float]:
        """The phase of the coming step and its learning rate."""
        if self.step < self.fit.steps:
            phase, step, factor = self.fit, self.step, 1.0
        else:
            phase, step, factor = self.shape, self.step - self.fit.steps, 0.5**self.setbacks
        return phase, factor * phase.learning_rate * phase.schedule(step / phase.steps)

    def _begin_shape_phase(self) -> None:
        # Adam's moments are those of the fit's last, tiny steps: with new losses they overshoot.
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        self.fitted = _copy(self.network.state_dict())

    def _begin_with(self, polygons: float) -> None:
        """Tells the losses how many polygons the first surface is expected to have."""
        self.first_polygons = polygons
        losses = self.geometry_losses.items()
        self.geometry_losses = {name: loss.begun_with(polygons) for name, loss in losses}

    def _measure(self, phase: Phase) -> tuple[dict[str, Tensor], PolyhedralSurface | None]:
        """The unweighted losses of the coming step, and the surface in the shape phase."""
        batch = self.batches.batch(self.network, self.step)
        terms = {name: loss(batch) for name, loss in self.fit_losses.items()}
        if phase is self.fit:
            return terms, None
        try:
            surface = self._extract()
            if self.first_polygons is None:
                self._begin_with(float(FaceCount(1.0)(surface.detach())))
            terms |= {name: loss(surface) for name, loss in self.geometry_losses.items()}
            for name, surface_fit in self.surface_fit_losses.items():
                terms[name] = surface_fit(surface, batch, self.cloud)
        except (InputError, ExtractionError) as error:
            if self.good is None:  # of the fit, before any step: a smaller one would not help
                raise
            raise SurfaceLostError(str(error)) from error
        self.good = self._state()
        return terms, surface

    def _extract(self) -> PolyhedralSurface:
        started = working_time()
        with nullcontext() if self._extracted else told(EXTRACTING):
            surface = self.extract(self.network)
        self._extracted = True
        self.seconds["extraction"] += working_time() - started
        return surface

    def _weights(self, names: Iterable[str]) -> dict[str, float]:
        return {name: self.losses[name].weight for name in names}

    def _update(self) -> None:
        """Changes the weights. What stops it half way leaves a state that must not be saved."""
        self._is_whole = False
        self.optimizer.step()
        self.step += 1
        self._is_whole = True

    def _is_due(self) -> bool:
        """Whether a checkpoint is; with each state that is kept one can watch the shape phase."""
        return self.step % self.checkpoint_every == 0 or self.step in self.history

    def _keep(self) -> None:
        """Now and then, the weights that the step came to."""
        done = KEPT * (self.step - self.fit.steps)
        if done % self.shape.steps < KEPT:
            self.history[self.step] = _copy(self.network.state_dict())

    def _is_sound(self) -> bool:
        """Whether the current state is worth keeping."""
        weights = self.network.parameters()
        return self._is_whole and all(bool(torch.isfinite(weight).all()) for weight in weights)

    def _go_back(self, lost: SurfaceLostError) -> None:
        """To the last state with a surface, with half the learning rate from there on.

        Raises:
            InputError: if that was done ``setbacks`` times before; the state is the last good one.
        """
        assert self.good is not None  # else no surface was lost
        step = self.step
        self._set_state(self.good)
        if self.setbacks == self.most_setbacks:
            on_surface = self._weights(self.geometry_losses | self.surface_fit_losses)
            raise InputError(lost_surface(step, self.setbacks, str(lost), on_surface)) from lost
        self.setbacks += 1
        logger.warning(
            "no surface in step %d (%s): going on from step %d at half the learning rate",
            step,
            lost,
            self.step,
        )

    def _divergence(self, terms: Mapping[str, Tensor], phase: Phase, learning_rate: float) -> str:
        weights = self._weights(terms)
        found = bad_values(terms, weights)
        if not found:  # the graph was used up: all is computed again
            terms, _ = self._measure(phase)
            found = bad_gradients(terms, weights, list(self.network.parameters()))
        return diverged(self.step, found, weights, learning_rate)

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
        bar.update(self.step - bar.n)
        # A step that is taken again, after a setback, has its row.
        if step <= self._last_logged:
            return
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
        self._last_logged = step
        bar.set_postfix(shown, refresh=False)
        # The first step of the shape phase may take long: the bar shows that it has begun.
        is_fit = self.step < self.fit.steps or self.shape.steps == 0
        bar.set_description("fit  " if is_fit else "shape", refresh=self.step == self.fit.steps)

    def save(self, path: Path) -> None:
        """Writes a checkpoint of the current state."""
        Checkpoint(
            self.step,
            _copy(self.network.state_dict()),
            self.optimizer.state_dict(),
            self.fitted,
            self.config,
            self.cloud.normalisation,
            self.seconds,
            self.good,
            setbacks=self.setbacks,
            history=self.history,
            first_polygons=self.first_polygons,
        ).save(path)
        self.saved = path, self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint of a training with the same settings.

        Raises:
            InputError: if the checkpoint's network or optimiser has another shape.
        """
        checkpoint.check_is_of(self.network)
        self._set_state(checkpoint)
        self.fitted = checkpoint.fitted
        self.seconds |= checkpoint.seconds
        self.good = checkpoint.good
        self.setbacks = checkpoint.setbacks
        self.history = dict(checkpoint.history)
        if checkpoint.first_polygons is not None:
            self._begin_with(checkpoint.first_polygons)

    def _state(self) -> State:
        """A copy of the current state."""
        network = _copy(self.network.state_dict())
        return State(self.step, network, _clone(self.optimizer.state_dict()))

    def _set_state(self, state: State) -> None:
        self._is_whole = False
        try:
            self.network.load_state_dict(state.network)
            # The optimiser would go on in the tensors that it is given.
            self.optimizer.load_state_dict(_clone(state.optimizer))
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the checkpoint is of another network: {error}") from error
        self.step = state.step
        self._is_whole = True


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


def _clone(state: Any) -> Any:
    """A copy of an optimiser's state. ``copy.deepcopy`` would take a sixth of a small step."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {name: _clone(part) for name, part in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_clone(part) for part in state)
    return state


def _progress_bar(done: int, total: int) -> tqdm:
    return tqdm(initial=done, total=total, desc="fit  ", unit="step", mininterval=0.5)
