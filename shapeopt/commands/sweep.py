"""A sweep: short names for its folders, and going on where an earlier one was stopped."""

import json
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from shapeopt.commands.faults import mendable
from shapeopt.output.files import write_whole
from shapeopt.output.terminal import show
from shapeopt.shipped import shipped_folder
from shapeopt.training.earlier_run import check_free, is_same
from shapeopt.training.folder_lock import FolderInUseError
from shapeopt.training.results import RESULTS_FILE

ERROR_FILE = "error.txt"
"""In the folder of a run that failed: why."""

SHORT = re.compile(r"[A-Za-z0-9_.+-]{1,24}")
"""A value that may stand in the name of a folder."""

Train = Callable[[DictConfig, Path, Path | None], None]


class Sweep(Callback):
    """Hydra calls it at the start of a sweep, whatever launches the runs.

    Attributes:
        folder: of the sweep; None in this process so far.
        goes_on: whether its runs go on elsewhere when this process ends.
        refused: folders of runs that were not made, since another training is or was there.
    """

    folder: ClassVar[Path | None] = None
    goes_on: ClassVar[bool] = False
    refused: ClassVar[list[Path]] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Keeps the folder for what comes when the sweep is over."""
        Sweep.folder, Sweep.refused = Path(str(config.hydra.sweep.dir)), []


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether one training for each combination of values is asked for."""
    return "-m" in arguments or "--multirun" in arguments


def with_short_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments, and for a sweep names of folders as ``3_width=16_weight=1e-7``.

    They have the number of the run and what differs between runs, by the last part of its name.

    Raises:
        HydraException: for an argument that Hydra cannot read.
    """
    given = list(arguments)
    if not is_sweep(given) or any(word.startswith("hydra.sweep.subdir=") for word in given):
        return given
    settings = [word for word in given if not word.startswith("-")]
    swept = [o for o in OverridesParser.create().parse_overrides(settings) if _is_named(o)]
    keys = [override.get_key_element() for override in swept]
    parts = [f"{label}=${{{_place(key)}}}" for key, label in zip(keys, labels(keys), strict=True)]
    name = "_".join(["${hydra.job.num}", *parts])
    return [*given, f"hydra.sweep.subdir='{name}'"]


def labels(keys: Sequence[str]) -> list[str]:
    """The last part of each dotted name, or as many as it takes to tell them apart."""
    ends = {
        key: [".".join(key.split(".")[-n:]) for n in range(1, key.count(".") + 2)] for key in keys
    }
    counts = Counter(end for every in ends.values() for end in every)
    return [next((end for end in ends[key] if counts[end] == 1), key) for key in keys]


def _is_named(override: Override) -> bool:
    """Whether it has several values, all of them short."""
    return override.is_sweep_override() and all(
        SHORT.fullmatch(value) for value in override.sweep_string_iterator()
    )


def _place(key: str) -> str:
    """Where the value is in the configuration of a run; of a group which choice was made."""
    is_group = (shipped_folder() / "conf" / key).is_dir()
    return f"hydra.runtime.choices.{key}" if is_group else key


def run_in_sweep(
    config: DictConfig, folder: Path, resume: Path | None, train: Train
) -> Path | None:
    """One run: skipped if it is done, gone on with if it was begun.

    What fails leaves its reason in `ERROR_FILE` and does not stop the others.

    Returns the folder if it was not made, since another training is or was there.
    """
    begun = is_same(config, folder)
    if begun and _is_finished(folder):
        show(f"{folder} is done already")
        return None
    checkpoint = folder / "checkpoints" / "last.pt"
    try:
        check_free(config, folder, resume)
        (folder / ERROR_FILE).unlink(missing_ok=True)
        train(config, folder, checkpoint if begun and checkpoint.exists() else resume)
    except FolderInUseError as error:  # what is in the folder is that of another
        show(str(error), sys.stderr)
        return folder
    except Exception as error:
        reason = mendable(error)
        if reason is None:  # a fault of the program's, which somebody will want to see whole
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
        if not (folder / "config.yaml").exists():  # it failed before anything was written
            settings = OmegaConf.to_yaml(config, resolve=True)
            write_whole(folder / "config.yaml", settings.encode())
        write_whole(folder / ERROR_FILE, reason.encode())
        show(f"failed: {folder}: {reason}", sys.stderr)
    return None


def _is_finished(folder: Path) -> bool:
    file = folder / RESULTS_FILE
    return file.is_file() and bool(json.loads(file.read_text(encoding="utf-8"))["finished"])
