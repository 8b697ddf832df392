"""Trains as configured: ``shapeopt train experiment=bunny``. See conf/config.yaml."""

import contextlib
import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapeopt.errors import InputError
from shapeopt.output.waiting import LOADING, told
from shapeopt.shipped import shipped_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
usage: shapeopt train [--data FILE] [SETTING=VALUE ...] [-m] [--cfg job]

Fits a network to a shape, then optimises its exact surface. Leaves meshes, a picture, report.html
and checkpoints in the folder `output`.

  shapeopt train experiment=smoke                          a few seconds: everything runs
  shapeopt train experiment=bunny                          the bunny that comes with shapeopt
  shapeopt train --data scan.ply                           a shape of your own, cloud or mesh
  shapeopt train experiment=bunny 'loss=[distance,face_count]' losses.face_count.weight=3e-7
  shapeopt train -m experiment=bunny model.width=8,16      a sweep
  shapeopt train resume=outputs/.../checkpoints/last.pt    go on, with any setting changed

options:
  -h, --help     this text
  --data FILE    a shape of your own, as data.path=FILE, with any letters in its name
  -m             one training for every combination of the values given with commas, and a table
                 of all; into the same output=FOLDER again it goes on where it was stopped
  --cfg job      print the settings that a training would have, and stop
  --hydra-help   all options of Hydra, which reads the settings (https://hydra.cc)
"""


def run(arguments: Sequence[str]) -> None:
    """Trains with the settings given as Hydra writes them, or prints help.

    Raises:
        InputError: for what the user can mend; also Hydra's and OmegaConf's own errors.
        KeyboardInterrupt: if Ctrl-C or SIGTERM ended the training, with the signal's number; its
            outputs are written.
    """
    if "-h" in arguments or "--help" in arguments:
        print(_help(shipped_folder() / "conf"))
        return
    # Errors come out as they are, not as Hydra prints them.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with told(LOADING):
        import hydra

        from shapeopt.commands.sweep import Sweep, is_sweep, with_short_folders

    failures: list[Exception] = []

    def job(config: "DictConfig") -> None:
        try:
            refused = train_configured(config)
            Sweep.refused += [refused] if refused else []
        except Exception as error:
            failures.append(error)

    configured = hydra.main(
        version_base="1.3", config_path=str(shipped_folder() / "conf"), config_name="config"
    )(job)
    # Where Hydra looks for them.
    sys.argv = [sys.argv[0], *with_short_folders(_with_own_file(arguments))]
    try:
        configured()
        if failures:
            raise failures[0]
        if is_sweep(arguments):
            _end_sweep()
    except KeyboardInterrupt:
        if is_sweep(arguments):
            _tell_how_to_go_on(arguments)
        raise
    except OSError as error:
        if (
            error.filename is None
        ):  # among others Hydra's own, for a configuration that is not there
            raise
        raise InputError(
            f"{error.filename}: {error.strerror}. To write elsewhere, set output=FOLDER"
        ) from error


def _with_own_file(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra reads them: a file of one's own works with every experiment.

    Raises:
        InputError: for ``--data`` without a file.
    """
    settings = [_with_plain_path(word) for word in arguments]
    while "--data" in settings:
        place = settings.index("--data")
        if place + 1 == len(settings):
            raise InputError("--data needs a file: shapeopt train --data scan.ply")
        settings[place : place + 2] = [f"data.path={_quoted(settings[place + 1])}"]
    named = [setting.lstrip("+").startswith("data.path=") for setting in settings]
    if any(named) and not any(setting.startswith("data=") for setting in settings):
        # Experiments on other data have no path to set. Hydra wants settings side by side.
        settings.insert(named.index(True), "data=file")
    return settings


def _with_plain_path(setting: str) -> str:
    """A checkpoint or folder of a sweep has "=" in its path, which Hydra wants in quotes."""
    name, _, value = setting.partition("=")
    if name in ("resume", "output") and "=" in value and not set(value) & set(",'\"$"):
        return f"{name}={_quoted(value)}"
    return setting


def _quoted(path: str) -> str:
    """A path as a value of Hydra's grammar, which gives a meaning to = , ( [ and blanks."""
    quote = "'" if "'" not in path else '"'
    if quote in path:
        raise InputError(f"--data {path}: a name with both kinds of quotes; rename the file")
    return quote + path.replace("${", "\\${") + quote


def train_configured(config: "DictConfig") -> Path | None:
    """One training; in a sweep, its errors are kept in its folder.

    Returns the folder if it is a run of a sweep that was not made, as in :func:`run_in_sweep`.
    """
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        return _train(config, folder)
    except Exception:
        with contextlib.suppress(OSError):
            folder.rmdir()  # Hydra made it; if there is nothing in it
        raise


def _train(config: "DictConfig", folder: Path) -> Path | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from shapeopt.commands.sweep import run_in_sweep
    from shapeopt.training.resuming import resumed_config
    from shapeopt.training.run import run as train

    hydra_config = HydraConfig.get()
    resume = Path(config.resume) if config.resume is not None else None
    group = config.logging.get("group")
    if resume is not None:
        config = resumed_config(
            resume, config, list(hydra_config.overrides.task), list(hydra_config.runtime.choices)
        )
    if hydra_config.mode is RunMode.MULTIRUN:
        sweep = Path(hydra_config.sweep.dir).name
        OmegaConf.update(config, "logging.group", group or f"{config.name}/{sweep}", force_add=True)
        return run_in_sweep(config, folder, resume, train)
    train(config, folder, resume)
    return None


def _end_sweep() -> None:
    """The table and plot of all runs.

    Raises:
        InputError: if some of them failed, were stopped, or were refused their folder.
    """
    from shapeopt.commands import compare
    from shapeopt.commands.sweep import Sweep

    if Sweep.folder is None or Sweep.goes_on:  # none: such as with --cfg job
        return
    compare.run([Sweep.folder])
    left = [run for run in compare.read_runs(Sweep.folder) if run.state]
    reasons = []
    if left:
        reasons.append(
            f"{len(left)} of the runs failed or were stopped; the same command with "
            f"output={Sweep.folder} tries them again or goes on, and skips what is done"
        )
    if Sweep.refused:
        folders = ", ".join(str(folder) for folder in Sweep.refused)
        reasons.append(
            f"{len(Sweep.refused)} of the runs could not be made, since other trainings have their "
            f"folders ({folders}); choose another output=FOLDER"
        )
    if reasons:
        raise InputError("; ".join(reasons))


def _tell_how_to_go_on(arguments: Sequence[str]) -> None:
    from shapeopt.commands.sweep import Sweep
    from shapeopt.output.terminal import show

    if Sweep.folder is not None:
        settings = [word for word in arguments if not word.startswith("output=")]
        command = shlex.join(["shapeopt", "train", *settings, f"output={Sweep.folder}"])
        show(f"the sweep was stopped; go on with: {command}")


def _help(conf: Path) -> str:
    """Usage, the choices of each group, and the settings with their defaults."""
    lines = [HELP, "choices (loss takes a list):"]
    for group in sorted({file.parent for file in conf.rglob("*.yaml")} - {conf}):
        names = ", ".join(sorted(file.stem for file in group.glob("*.yaml")))
        label = group.relative_to(conf).as_posix() + "="
        lines += textwrap.wrap(
            names, 100, initial_indent=f"  {label:<16}", subsequent_indent=" " * 18
        )
    text = (conf / "config.yaml").read_text(encoding="utf-8")
    settings = text[text.index("\nname:") : text.index("\nhydra:")].strip().splitlines()
    lines += ["", "settings and their defaults:"]
    lines += [f"  {line}".rstrip() for line in settings if "_target_" not in line]
    return "\n".join(lines)
