"""Trainings side by side, in a table and a Pareto plot: ``shapeopt compare FOLDERS``."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from shapeopt.commands.sweep import ERROR_FILE, labels
from shapeopt.errors import InputError
from shapeopt.output.files import write_whole
from shapeopt.output.terminal import show, show_table
from shapeopt.training.results import RESULTS_FILE
from shapeopt.training.summary import DISTANCES, SURFACE

SHOWN = {
    "polygons": ("polygons", SURFACE["surface/polygons"]),
    "distance": ("distance", DISTANCES["distance"]),
    "largest": ("hausdorff", DISTANCES["hausdorff"]),
    "bending": ("bending_mean_degrees", SURFACE["surface/bending_mean_degrees"]),
}
"""Headings of the table; their names in `RESULTS_FILE`, and how they are shown."""

TOPOLOGY = {"closed": "closed", "parts": "components", "genus": "genus"}
"""Headings, and names in `RESULTS_FILE`, of what the certificate says; earlier runs have none."""

UNITS = (
    "distance to the truth, mean and largest: 1e-3 of the longest side; bending at edges, mean: "
    "degrees"
)

LONGEST_LABEL = 40
"""Letters in the plot; runs that need more are called by their folders there."""

MOST_SETTINGS = 6
"""Trainings that differ in more are told apart by their folders alone."""


@dataclass(frozen=True)
class Run:
    """What a training left in its folder.

    Attributes:
        folder: of the training.
        settings: name -> value, of all settings.
        numbers: of its last surface; empty if there is none.
        seconds: of both phases.
        state: in words, if it is not finished.
    """

    folder: Path
    settings: dict[str, str]
    numbers: dict[str, float]
    seconds: float
    state: str = ""


def run(folders: Sequence[Path], output: Path | None = None) -> None:
    """Prints the table and draws the plot.

    Args:
        folders: of trainings, or of sweeps.
        output: of the plot, PNG, SVG or PDF; if None, pareto.png in the folder that holds all.

    Raises:
        InputError: if there is no training in one of the folders.
        OSError: if the plot cannot be written.
    """
    runs = [run for folder in folders for run in read_runs(folder)]
    runs = list({run.folder.resolve(): run for run in runs}.values())
    if len({run.folder.is_absolute() for run in runs}) > 1:
        runs = [replace(run, folder=run.folder.resolve()) for run in runs]
    base = Path(os.path.commonpath([run.folder.parent for run in runs]))
    best = pareto(runs)
    show_table(rows(runs, base, best))
    show(UNITS)
    for left in runs:
        if left.state:
            show(f"{_name(left, base)}: {left.state}")
    if best:
        path = write_whole(output or base / "pareto.png", plot(runs, base, best, output))
        show(f"* no other has both fewer polygons and less distance; plot in {path}")


def read_runs(folder: Path) -> list[Run]:
    """The trainings in a folder, which may be one of them; in the order of their numbers.

    Raises:
        InputError: if there is none.
    """
    found = [
        file.parent
        for file in folder.rglob("config.yaml")
        if "wandb" not in file.relative_to(folder).parts
    ]
    if not found:
        raise InputError(f"there is no training in {folder}: no config.yaml")
    return [_read(path) for path in sorted(found, key=_by_number)]


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts 10_a behind 9_a."""
    return [(int(n or -1), text) for n, text in re.findall(r"(\d*)(\D*)", str(path))]


def _read(folder: Path) -> Run:
    settings = _settings(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml")))
    error, results = folder / ERROR_FILE, folder / RESULTS_FILE
    if not results.is_file():
        state = "no results: it is running, or was stopped"
        if error.is_file():
            state = "failed: " + error.read_text(encoding="utf-8")
        return Run(folder, settings, {}, 0.0, state)
    try:
        facts = json.loads(results.read_text(encoding="utf-8"))
        surface: dict[str, float] = {}
        for numbers in facts["surfaces"].values():  # before, then after
            surface = {name: value for name, value in numbers.items() if value is not None}
        seconds = facts["seconds"]["fit"] + facts["seconds"]["shape"]
        state = "" if facts["finished"] else f"stopped at step {facts['step']:,}"
    except (ValueError, KeyError, TypeError, AttributeError) as damage:
        raise InputError(f"{results} is damaged: {damage!r}") from damage
    if error.is_file():
        state = "failed: " + error.read_text(encoding="utf-8")
    return Run(folder, settings, surface, seconds, state)


def _settings(config: Any) -> dict[str, str]:
    """By dotted names; which choice was made for a group, under the group's own name."""
    flat = _flat(config)
    chosen = {
        key.removesuffix("._target_"): value.rpartition(".")[2]
        for key, value in flat.items()
        if key.endswith("._target_")
    }
    losses = [key.removeprefix("losses.") for key in chosen if key.startswith("losses.")]
    kept = {key: value for key, value in flat.items() if not key.endswith("._target_")}
    return {"losses": "+".join(losses)} | chosen | kept


def _flat(value: Any, key: str = "") -> dict[str, str]:
    """Nested settings by their dotted names."""
    if not isinstance(value, dict):
        return {key: str(value)}
    return {
        name: text
        for inner, below in value.items()
        for name, text in _flat(below, f"{key}.{inner}" if key else str(inner)).items()
    }


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings that all runs have, and not the same, but for those of where it writes."""
    found: dict[tuple[str, ...], str] = {}
    for name in sorted(runs[0].settings, key=lambda name: name.count(".")):
        values = tuple(run.settings.get(name, "") for run in runs)
        everywhere = all(name in run.settings for run in runs)
        if everywhere and len(set(values)) > 1 and name not in ("output", "resume"):
            # One that follows another, as data.seed does seed, says nothing new.
            found.setdefault((name.rpartition(".")[2], *values), name)
    return list(found.values()) if len(found) <= MOST_SETTINGS else []


def pareto(runs: Sequence[Run]) -> list[Run]:
    """Those that no other beats in both polygons and distance, by number of polygons."""
    measured = [run for run in runs if {"polygons", "distance"} <= run.numbers.keys()]
    best: list[Run] = []
    for one in sorted(measured, key=lambda run: (run.numbers["polygons"], run.numbers["distance"])):
        if not best or one.numbers["distance"] < best[-1].numbers["distance"]:
            best.append(one)
    return best


def rows(runs: Sequence[Run], base: Path, best: Sequence[Run]) -> list[dict[str, str]]:
    """A row of text for each run."""
    keys = differing(runs)
    proven = [h for h, name in TOPOLOGY.items() if any(name in one.numbers for one in runs)]
    return [
        {"": _name(one, base)}
        | {label: one.settings[key] for key, label in zip(keys, labels(keys), strict=True)}
        | {
            heading: format(one.numbers[name] * quantity.factor, quantity.form)
            if name in one.numbers
            else "-"
            for heading, (name, quantity) in SHOWN.items()
        }
        | {heading: _proven(one, heading) for heading in proven}
        | {"seconds": f"{one.seconds:,.0f}", "best": "*" if one in best else ""}
        for one in runs
    ]


def _name(run: Run, base: Path) -> str:
    return os.path.relpath(run.folder, base)


def _proven(run: Run, heading: str) -> str:
    value = run.numbers.get(TOPOLOGY[heading])
    if value is None:
        return "-"
    return ("no", "yes")[bool(value)] if heading == "closed" else f"{value:.0f}"


def names(runs: Sequence[Run], base: Path) -> list[str]:
    """What tells the runs apart, for the plot: settings if they are few, else the folders."""
    keys = differing(runs)
    texts = [
        ", ".join(
            f"{label} {run.settings[key]}" for key, label in zip(keys, labels(keys), strict=True)
        )
        for run in runs
    ]
    if all(texts) and len(set(texts)) == len(runs) and max(map(len, texts)) <= LONGEST_LABEL:
        return texts
    return [_name(run, base) for run in runs]


def plot(runs: Sequence[Run], base: Path, best: Sequence[Run], output: Path | None) -> bytes:
    """Polygons against distance, the best ones joined.

    Raises:
        InputError: for a format that there is not.
    """
    from shapeopt.commands.pareto_plot import BEATEN, BEST, Mark, pareto_plot

    marks: dict[bool, list[Mark]] = {True: [], False: []}
    for run, name in sorted(zip(runs, names(runs, base), strict=True), key=_polygons):
        if {"polygons", "distance"} <= run.numbers.keys():
            place = run.numbers["polygons"], run.numbers["distance"] * DISTANCES["distance"].factor
            marks[run in best].append(Mark(name, place, BEST if run in best else BEATEN))
    try:
        kind = output.suffix[1:] if output else "png"
        return pareto_plot(marks[True], marks[False], DISTANCES["distance"].label, kind)
    except ValueError as error:
        raise InputError(f"{output}: {error}") from error


def _polygons(named: tuple[Run, str]) -> float:
    return named[0].numbers.get("polygons", 0.0)
