"""A run of Weights & Biases that may fail without harm to the training."""

import contextlib
import importlib
import io
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LONGEST_WAIT = 8  # seconds that a training waits for the server before it starts
LONGEST_FINISH = 120  # seconds that it waits at its end until all is sent
logger = logging.getLogger(__name__)


class WandbRun:
    """One W&B run. When W&B fails, one warning says so, and from then on all calls do nothing.

    A server that does not answer turns "online" into "offline".

    Args:
        folder: gets `wandb/`; its name is that of the run.
        project: name of the W&B project.
        mode: "online", which without an API key turns into "offline", or "offline".
        config: the resolved configuration; plain containers only.
        group: name that the runs of a sweep have in common; None for a run by itself.
    """

    def __init__(
        self,
        folder: Path,
        project: str,
        mode: str,
        config: Mapping[str, Any] | None,
        group: str | None = None,
    ) -> None:
        self._wandb: Any = None
        self._run: Any = None
        later = f"Run `wandb sync` on the folder in {folder / 'wandb'} to send it later."
        try:
            self._wandb = importlib.import_module("wandb")
            if mode == "online" and not _has_credentials(self._wandb):
                # Without a key, wandb would stop and ask for one on the terminal.
                logger.warning(
                    "Weights & Biases has no API key: logging offline. Run `wandb login`. %s", later
                )
                mode = "offline"
            try:
                self._run = self._start(folder, project, mode, config, group)
            except self._wandb.errors.CommError as error:
                if mode == "offline":
                    raise
                logger.warning(
                    "Weights & Biases does not answer (%s): logging offline. %s",
                    _first_line(error),
                    later,
                )
                self._run = self._start(folder, project, "offline", config, group)
        except Exception as error:
            _warn("could not be started", error)

    def _start(
        self,
        folder: Path,
        project: str,
        mode: str,
        config: Mapping[str, Any] | None,
        group: str | None,
    ) -> Any:
        settings = {"init_timeout": LONGEST_WAIT}
        if "finish_timeout" in self._wandb.Settings.model_fields:  # older ones wait for ever
            settings |= {"finish_timeout": LONGEST_FINISH, "finish_timeout_raises": True}
        return self._wandb.init(
            project=project,
            name=folder.resolve().name,
            group=group,
            job_type="sweep" if group else "train",
            mode=mode,
            dir=str(folder),
            config=dict(config or {}),
            # A run of its own, even if the last one in this process is still open.
            reinit="create_new",
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                disable_code=True,
                disable_git=True,
                **settings,
            ),
        )

    @property
    def is_open(self) -> bool:
        """Whether what is logged goes anywhere."""
        return self._run is not None

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Log one row: numbers, and meshes from `mesh`."""
        self._attempt(
            f"did not take step {step}", lambda: self._run.log(dict(row), step=step, commit=True)
        )

    def summarise(self, numbers: Mapping[str, float]) -> None:
        """Set numbers of the run as a whole, by which W&B sorts and sweeps."""
        self._attempt("did not take the summary", lambda: self._run.summary.update(dict(numbers)))

    def mesh(self, path: Path) -> Any:
        """A GLB file as a value to log, or None."""
        return self._attempt("did not take a mesh", lambda: self._wandb.Object3D(str(path)))

    def picture(self, path: Path) -> Any:
        """A PNG file as a value to log, or None."""
        return self._attempt("did not take a picture", lambda: self._wandb.Image(str(path)))

    def add_artifact(self, kind: str, path: str | os.PathLike[str]) -> None:
        """Attach a file as an artifact of a type; it is read when the run is synchronised."""

        def add() -> None:
            artifact = self._wandb.Artifact(f"{kind}-{self._run.id}", type=kind)
            # "mutable" spares a copy in the user's home folder.
            artifact.add_file(str(Path(path).resolve()), policy="mutable")
            self._run.log_artifact(artifact)

        self._attempt(f"did not take the {kind} {path}", add)

    def finish(self, failed: bool = False) -> None:
        """Close the run; harmless if repeated."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.finish(exit_code=int(failed))
        except Exception as error:
            _warn("could not finish its run", error)

    def _attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """The action's result; if it fails, None, a warning, and no W&B from here on."""
        if self._run is None:
            return None
        try:
            return action()
        except Exception as error:
            _warn(what, error)
            run, self._run = self._run, None
            try:
                run.finish(exit_code=1)
            except Exception:
                logger.debug("W&B could not finish its run either.", exc_info=True)
                # Its process is gone; taking leave of it at exit would print a traceback.
                with contextlib.suppress(Exception):
                    self._wandb.teardown(exit_code=1)
            return None


def _has_credentials(wandb: Any) -> bool:
    """Whether wandb can sign in without asking on the terminal."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it tells where it found the key
            return bool(wandb.login(prompt=False, verify=False))
    except TypeError:  # an older wandb: login() always asks, but the key can be looked up
        return bool(wandb.api.api_key)


def _warn(what: str, error: Exception) -> None:
    logger.warning(
        "Weights & Biases %s (%s: %s). Training goes on; numbers are in the metrics file alone.",
        what,
        type(error).__name__,
        _first_line(error),
    )


def _first_line(error: Exception) -> str:
    """What others report on several lines, or nothing."""
    return (str(error).splitlines() or [""])[0]
