"""The record of a training: a JSON Lines file in the output folder, and Weights & Biases.

The file is always written. W&B may be missing, offline, switched off or fail half way: the
training is told once and goes on with the file alone.
"""

import io
import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.files import append_whole, write_whole
from shapeopt.output.glb import write_glb
from shapeopt.output.wandb_run import WandbRun

logger = logging.getLogger(__name__)
METRICS_FILE = "metrics.jsonl"
Mode = Literal["online", "offline", "disabled"]


class RunLog:
    """Where a training run leaves its numbers and meshes. Use it in a `with` block.

    Per step: first `log_mesh`, if at all, then `log`; both reach W&B as one row.

    Args:
        output_dir: folder of the run; gets `metrics.jsonl`, `meshes/` and `wandb/`.
        project: name of the W&B project.
        mode: "online", "offline" (sent later by `wandb sync`) or "disabled".
        mesh_every: a mesh is due every so many steps; 0 for never.
        group: name that the runs of a sweep have in common in W&B.
        config: the resolved configuration, kept with the W&B run; plain containers only.
        start_step: the first step to come. What the file holds from there on, left by a run
            that went further than its last checkpoint, is dropped; 0 starts a new file.
        on_removed: called when somebody removed the file, before a new one is begun.

    Raises:
        InputError: `mode` is none of the three, or `mesh_every` or `start_step` is negative.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        project: str = "shapeopt",
        mode: Mode = "offline",
        mesh_every: int = 0,
        group: str | None = None,
        config: Mapping[str, Any] | None = None,
        start_step: int = 0,
        on_removed: Callable[[], None] | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise InputError(
                f"logging mode must be one of {', '.join(get_args(Mode))}, not {mode!r}."
            )
        if mesh_every < 0 or start_step < 0:
            raise InputError("mesh_every and start_step must not be negative.")
        self.output_dir = Path(output_dir)
        self.mesh_every = mesh_every
        self._last_step = start_step - 1
        self._waiting: dict[str, Any] = {}  # meshes of _waiting_step, not yet sent
        self._waiting_step = start_step
        self._path = self.output_dir / METRICS_FILE
        self._on_removed = on_removed
        self._file = open_metrics(self._path, start_step)
        self._wandb = None
        if mode != "disabled":
            self._wandb = WandbRun(self.output_dir, project, mode, config, group)

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
        return self._wandb is not None and self._wandb.is_open

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
            OSError: the file cannot be written, as on a full disk; names it.
        """
        self._check_step(step)
        row: dict[str, Any] = {"step": step}
        row |= {name: v if math.isfinite(v) else None for name, v in scalars.items()}
        self._write(json.dumps(row) + "\n")
        if self._waiting_step < step:
            self._send_waiting()
        self._last_step = step
        if self._wandb is not None:
            self._wandb.log(step, {**scalars, **self._waiting})
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
        if self._wandb is None or not self._wandb.is_open or surface.num_faces == 0:
            return
        if self._waiting_step < step:
            self._send_waiting()
        self._waiting_step = step
        file = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}_{step:07d}.glb"
        mesh = self._wandb.mesh(write_glb(surface, self.output_dir / "meshes" / file))
        if mesh is not None:
            self._waiting[name] = mesh

    def summarise(self, numbers: Mapping[str, float]) -> None:
        """Set numbers of the W&B run as a whole, as "final/name"; W&B sorts runs by them."""
        if self._wandb is not None:
            self._wandb.summarise({f"final/{name}": value for name, value in numbers.items()})

    def log_outcome(self, picture: Path, mesh: Path) -> None:
        """Show the last picture (PNG) and mesh (GLB) in W&B, in a row behind the last step's."""
        if self._wandb is None:
            return
        self._send_waiting()
        shown = {"picture": self._wandb.picture(picture), "outcome": self._wandb.mesh(mesh)}
        # None is what was not taken; a warning has said so.
        self._wandb.log(
            self._last_step + 1, {name: value for name, value in shown.items() if value is not None}
        )

    def log_artifacts(
        self,
        mesh: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        """Attach files to the W&B run, as artifacts of type "mesh" and "checkpoint".

        The files stay where they are and are read when the run is synchronised.
        """
        for kind, path in (("mesh", mesh), ("checkpoint", checkpoint)):
            if path is not None and self._wandb is not None:
                self._wandb.add_artifact(kind, path)

    def finish(self, failed: bool = False) -> None:
        """Close the file and the W&B run. Called by the `with` block; harmless if repeated."""
        self._file.close()
        self._send_waiting()
        if self._wandb is not None:
            self._wandb.finish(failed)

    def _write(self, line: str) -> None:
        if not self._path.exists():  # somebody removed it, or all of the folder
            logger.warning("%s was removed: its rows are lost, and a new one is begun.", self._path)
            self._file.close()
            if self._on_removed is not None:
                self._on_removed()
            self._file = open_metrics(self._path, 0)
        try:
            append_whole(self._file, line.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def _check_step(self, step: int) -> None:
        if step <= self._last_step:
            raise InputError(f"step {step} comes after step {self._last_step}: steps must grow.")

    def _send_waiting(self) -> None:
        """Send meshes whose step had no numbers."""
        if self._waiting and self._wandb is not None:
            self._wandb.log(self._waiting_step, self._waiting)
        self._waiting = {}


def open_metrics(path: Path, start_step: int) -> io.FileIO:
    """Open the metrics file to append, without the rows from `start_step` on.

    Raises:
        OSError: the file cannot be written.
    """
    kept = [row for row in read_metrics(path) if row["step"] < start_step]
    # Replaced as a whole, so a run stopped right here loses nothing.
    write_whole(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
    return path.open("ab", buffering=0)


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics file, or none if there is no file.

    A last line cut off when its run was killed is left out.
    """
    path = Path(path)
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
