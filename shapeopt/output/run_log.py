"""The record of a training: a JSON Lines file in the output folder, and Weights & Biases.

The file is always written. W&B may be missing, offline, switched off or fail half way: the
training is told once and goes on with the file alone.
"""

import importlib
import json
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import write_glb

METRICS_FILE = "metrics.jsonl"
MODES = ("online", "offline", "disabled")

logger = logging.getLogger(__name__)


class RunLog:
    """Where a training run leaves its numbers and meshes. Use it in a `with` block.

    Per step: first `log_mesh`, if at all, then `log`; both reach W&B as one row.

    Args:
        output_dir: folder of the run; gets `metrics.jsonl`, `meshes/` and `wandb/`.
        project: name of the W&B project.
        mode: "online", "offline" (sent later by `wandb sync`) or "disabled".
        mesh_every: a mesh is due every so many steps; 0 for never.
        config: the resolved configuration, kept with the W&B run; plain containers only.
        start_step: the first step to come. What the file holds from there on, left by a run
            that went further than its last checkpoint, is dropped; 0 starts a new file.

    Raises:
        InputError: `mode` is none of the three, or `mesh_every` or `start_step` is negative.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        project: str = "shapeopt",
        mode: str = "offline",
        mesh_every: int = 0,
        config: Mapping[str, Any] | None = None,
        start_step: int = 0,
    ) -> None:
        if mode not in MODES:
            raise InputError(f"logging mode must be one of {', '.join(MODES)}, not {mode!r}.")
        if mesh_every < 0 or start_step < 0:
            raise InputError("mesh_every and start_step must not be negative.")
        self.output_dir = Path(output_dir)
        self.mesh_every = mesh_every
        self._last_step = start_step - 1
        self._waiting: dict[str, Any] = {}  # meshes of _waiting_step, not yet sent
        self._waiting_step = start_step
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self._file = open_metrics(self.output_dir / METRICS_FILE, start_step)
        self._wandb: Any = None
        self._run: Any = None
        if mode != "disabled":
            self._start_wandb(project, mode, dict(config or {}))

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(failed=error is not None)

    @property
    def sends_meshes(self) -> bool:
        """Whether a logged mesh goes anywhere: W&B is on."""
        return self._run is not None

    def mesh_due(self, step: int) -> bool:
        """Whether the training should log a mesh at this step."""
        return self.sends_meshes and self.mesh_every > 0 and step % self.mesh_every == 0

    def log(self, step: int, scalars: Mapping[str, float | int]) -> None:
        """Write the numbers of one step; null in the file is a number that was not finite.

        Args:
            step: larger than at the last call.
            scalars: name -> value; a "group/" before the name puts curves side by side.

        Raises:
            InputError: the step is not larger than the last one.
        """
        self._check_step(step)
        row: dict[str, Any] = {"step": step}
        row |= {name: v if math.isfinite(v) else None for name, v in scalars.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self._send_waiting_before(step)
        self._last_step = step
        self._send(step, {**scalars, **self._waiting})
        self._waiting = {}

    def log_mesh(self, step: int, surface: PolygonMesh, name: str = "surface") -> None:
        """Keep a mesh as `meshes/<name>_<step>.glb` and send it with the step's numbers.

        Without W&B, or for a surface without polygons, nothing is done.

        Args:
            step: the step that `log` is called with next.
            surface: the mesh, in the coordinates to be shown.
            name: what it is called in W&B.

        Raises:
            InputError: the step was logged already.
        """
        self._check_step(step)
        if not self.sends_meshes or len(surface.face_offsets) < 2:
            return
        self._send_waiting_before(step)
        self._waiting_step = step
        file = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}_{step:07d}.glb"
        path = write_glb(surface, self.output_dir / "meshes" / file)
        try:
            self._waiting[name] = self._wandb.Object3D(str(path))
        except Exception as error:
            self._give_up("did not take a mesh", error)

    def log_artifacts(
        self,
        mesh: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        """Attach files to the W&B run, as artifacts of type "mesh" and "checkpoint".

        The files stay where they are and are read when the run is synchronised.
        """
        for kind, path in (("mesh", mesh), ("checkpoint", checkpoint)):
            if path is None or self._run is None:
                continue
            try:
                artifact = self._wandb.Artifact(f"{kind}-{self._run.id}", type=kind)
                # "mutable" spares a copy in the user's home folder.
                artifact.add_file(str(Path(path).resolve()), policy="mutable")
                self._run.log_artifact(artifact)
            except Exception as error:
                self._give_up(f"did not take the {kind} {path}", error)

    def finish(self, failed: bool = False) -> None:
        """Close the file and the W&B run. Called by the `with` block; harmless if repeated."""
        self._file.close()
        if self._waiting:
            self._send(self._waiting_step, self._waiting)
            self._waiting = {}
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.finish(exit_code=int(failed))
        except Exception as error:
            _warn("could not finish its run", error)

    def _start_wandb(self, project: str, mode: str, config: dict[str, Any]) -> None:
        try:
            self._wandb = importlib.import_module("wandb")
            if mode == "online" and not _has_credentials(self._wandb):
                # Without a key, wandb would stop and ask for one on the terminal.
                logger.warning(
                    "Weights & Biases has no API key: logging offline. Run `wandb login`, then "
                    "`wandb sync` on the folder in %s.",
                    self.output_dir / "wandb",
                )
                mode = "offline"
            self._run = self._wandb.init(
                project=project,
                mode=mode,
                dir=str(self.output_dir),
                config=config,
                # A run of its own, even if the last one in this process is still open.
                reinit="create_new",
                settings=self._wandb.Settings(
                    silent=True,
                    console="off",
                    save_code=False,
                    disable_code=True,
                    disable_git=True,
                ),
            )
        except Exception as error:
            self._give_up("could not be started", error)

    def _check_step(self, step: int) -> None:
        if step <= self._last_step:
            raise InputError(f"step {step} comes after step {self._last_step}: steps must grow.")

    def _send_waiting_before(self, step: int) -> None:
        """Send meshes of an earlier step that had no numbers."""
        if self._waiting and self._waiting_step < step:
            self._send(self._waiting_step, self._waiting)
            self._waiting = {}

    def _send(self, step: int, row: Mapping[str, Any]) -> None:
        if self._run is None:
            return
        try:
            self._run.log(dict(row), step=step, commit=True)
        except Exception as error:
            self._give_up(f"did not take step {step}", error)

    def _give_up(self, what: str, error: Exception) -> None:
        """Warn, and go on without W&B."""
        _warn(what, error)
        run, self._run, self._waiting = self._run, None, {}
        if run is not None:
            try:
                run.finish(exit_code=1)
            except Exception:
                logger.debug("W&B could not finish its run either.", exc_info=True)


def open_metrics(path: Path, start_step: int) -> Any:
    """Open the metrics file to append, without the rows from `start_step` on."""
    kept = [row for row in read_metrics(path) if row["step"] < start_step]
    # Replaced as a whole, so a run stopped right here loses nothing.
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
    os.replace(temporary, path)
    return path.open("a")


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file, or none if there is no file.

    A last line cut off when its run was killed is left out.
    """
    path = Path(path)
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _has_credentials(wandb: Any) -> bool:
    """Whether wandb can sign in without asking on the terminal."""
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except TypeError:  # an older wandb: login() always asks, but the key can be looked up
        return bool(wandb.api.api_key)


def _warn(what: str, error: Exception) -> None:
    logger.warning(
        "Weights & Biases %s (%s: %s). Training goes on; its numbers are in %s only.",
        what,
        type(error).__name__,
        error,
        METRICS_FILE,
    )
