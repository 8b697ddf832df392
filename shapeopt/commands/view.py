"""A run in the browser, live while it trains, or a mesh or network: ``shapeopt view FOLDER``."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from shapeopt.commands.sources import open_source
from shapeopt.data.reading import read_mesh
from shapeopt.errors import ExtractionError, InputError
from shapeopt.mesh.certificate import certify
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.live_page import LivePage
from shapeopt.output.report_viewer import shape_data, triangles_data
from shapeopt.output.run_log import METRICS_FILE, read_metrics
from shapeopt.output.terminal import show
from shapeopt.output.waiting import EXTRACTING, told
from shapeopt.training.checkpoints import Checkpoint
from shapeopt.training.config import build_extraction

MESHES = (".ply", ".obj", ".stl", ".off", ".glb", ".gltf", ".3mf")
PAUSE = 0.5
"""Seconds between two looks at what is followed."""


class Seen(NamedTuple):
    """What is new: a text, and the shape that it is about, if there is one."""

    number: int
    shape: Mapping[str, Any] | None
    text: str


def run(source: Path, port: int = 8080, up: str | None = None) -> None:
    """Serves the page until Ctrl-C.

    Args:
        source: folder of a run, whose checkpoints are shown as they come; or a mesh, a checkpoint
            or a network, shown again when it changes.
        port: to be reached at, or one of the next ones.
        up: the axis that points up, "y" or "z"; None for that of the run, or z.

    Raises:
        InputError: for a wrong folder or file.
        ExtractionError: if the surface of a file cannot be extracted.
    """
    followed = follow(source)
    first = next(followed)  # what is wrong with a file is told before a page is served
    page = open_page(source, port, up)
    show(f"{source} is at {page.address}; Ctrl-C ends it")
    try:
        for seen in chain([first], followed):
            if seen is None:
                time.sleep(PAUSE)
            else:
                put(page, seen)
    except KeyboardInterrupt:
        pass
    finally:
        page.close()


def follow(source: Path) -> Iterator[Seen | None]:
    """What is new in a run or a file, one after the other; None for nothing yet. Never ends.

    Raises:
        InputError: it is neither, or the file cannot be read to begin with.
        ExtractionError: its surface cannot be extracted.
    """
    if source.is_dir():
        _config(source)
        return _follow_run(source)
    if not source.exists():
        raise InputError(f"there is no {source}")
    return _follow_file(source)


def open_page(source: Path, port: int, up: str | None) -> LivePage:
    """A page for a run, with its curves, or for a file."""
    name = source.resolve().name
    if not source.is_dir():
        return LivePage(name, port, up or "z", "version")
    config = _config(source)
    title = f"{config.get('name', 'run')} ({name})"
    chosen = up or str(config.get("up", "z"))
    return LivePage(title, port, chosen, rows=lambda: read_metrics(source / METRICS_FILE))


def put(page: LivePage, seen: Seen) -> None:
    """Shows what is new."""
    if seen.shape is None:
        page.tell(seen.text)
    else:
        page.add(seen.number, seen.shape, seen.text)


def _config(run: Path) -> DictConfig:
    path = run / "config.yaml"
    if not path.exists():
        raise InputError(
            f"{run} is no folder of a run: it has no config.yaml; give that of a run, or a mesh, a "
            "checkpoint or a network"
        )
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config


def _follow_run(run: Path) -> Iterator[Seen | None]:
    """The newest state of each checkpoint, then the earlier ones that it keeps."""
    known: set[int] = set()
    last = None
    yield Seen(0, None, "waiting for the first checkpoint ...")
    while True:
        newest = _newest_checkpoint(run)
        if newest is None or newest == last:
            yield None
            continue
        last = newest
        try:
            saved = Checkpoint.load(newest[0])
        except InputError as error:  # in a run nothing ends the page
            yield Seen(0, None, str(error))
            continue
        for step, state in sorted(_states(saved).items(), reverse=True):
            if step not in known and _newest_checkpoint(run) == last:
                known.add(step)
                yield _state_seen(saved, step, state)


def _newest_checkpoint(run: Path) -> tuple[Path, int] | None:
    """The one that was written last, and when; None if there is none, or it is being replaced."""
    try:
        there = [(path.stat().st_mtime_ns, path) for path in run.glob("checkpoints/*.pt")]
    except FileNotFoundError:
        return None
    return max(there)[::-1] if there else None


def _states(saved: Checkpoint) -> dict[int, dict[str, torch.Tensor]]:
    """Step -> weights: all that a checkpoint has."""
    states = dict(saved.history)
    if saved.fitted is not None:
        states[_steps(saved, "fit")] = saved.fitted
    return states | {saved.step: saved.network}


def _steps(saved: Checkpoint, *phases: str) -> int:
    settings = saved.config.get("training", {})
    return sum(settings.get(phase, {}).get("steps", 0) for phase in phases)


@torch.no_grad()
def _state_seen(saved: Checkpoint, step: int, state: dict[str, torch.Tensor]) -> Seen:
    """A training may have no surface yet, or lose it."""
    phase = "fit" if step <= _steps(saved, "fit") else "shape"
    text = f"step {step:,} of {_steps(saved, 'fit', 'shape'):,}, {phase} phase"
    try:
        extract = build_extraction(OmegaConf.create(saved.config))
        with told(EXTRACTING):
            surface = extract(replace(saved, network=state).rebuilt_network())
    except (InputError, ExtractionError) as error:
        return Seen(step, None, f"{text}: {error}")
    return _mesh_seen(saved.normalisation.undo_mesh(surface), step, text)


def _follow_file(path: Path) -> Iterator[Seen | None]:
    version, last = 0, None
    while True:
        time_of = path.stat().st_mtime_ns if path.exists() else last
        if time_of == last:
            yield None
            continue
        version, last = version + 1, time_of
        try:
            seen = _read(path, version)
        except (InputError, ExtractionError) as error:
            if version == 1:
                raise
            seen = Seen(version, None, str(error))
        yield seen


def _read(path: Path, version: int) -> Seen:
    """A file as it is to be seen."""
    if path.suffix.lower() in MESHES:
        with told(f"reading {path} ..."):
            vertices, triangles = read_mesh(path)
        text = f"{path}: {len(triangles):,} triangles"
        return Seen(version, triangles_data(vertices, triangles), text)
    source = open_source(path)
    with told(EXTRACTING):
        mesh = source.normalisation.undo_mesh(source.surface())
    return _mesh_seen(mesh, version, str(path))


def _mesh_seen(mesh: PolygonMesh, number: int, text: str) -> Seen:
    facts = f"{mesh.num_faces:,} polygons, {certify(mesh).summary()}"
    return Seen(number, shape_data(mesh), f"{text}: {facts}")
