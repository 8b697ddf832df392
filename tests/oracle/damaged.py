"""Damaged files through the readers: what comes out of one, by its number."""

import io
import os
import signal
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shapeopt.data import load, read_cloud, read_mesh
from shapeopt.data.formats import read_file
from shapeopt.errors import InputError
from shapeopt.training.checkpoints import Checkpoint
from tests.data.awkward import Refused, cases
from tests.oracle.mutations import mutated

CHECKPOINTS = sorted((Path(__file__).parents[1] / "files").glob("*.pt"))
SECONDS = 10  # for one file
SAMPLES = 50


@cache
def sources() -> list[tuple[str, bytes, str | None]]:
    """Files to damage: suffix, content, columns. The few checkpoints come more often."""
    whole = [
        (case.suffix, case.data, case.columns)
        for case in cases()
        if not isinstance(case.expected, Refused)
    ]
    saved = [path.read_bytes() for path in CHECKPOINTS]
    return whole + [("pt", data, None) for data in 6 * saved] + list(hostile())


class Runs:
    """Unpickled, it runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def hostile() -> Iterator[tuple[str, bytes, None]]:
    """Files that would run a command if they were trusted."""
    arrays, packed, pickled, configured = (io.BytesIO() for _ in range(4))
    objects = np.array([[Runs()] * 3] * 4, dtype=object)
    np.save(arrays, objects, allow_pickle=True)
    np.savez(packed, points=objects)
    torch.save({"config": Runs()}, pickled)
    state = torch.load(CHECKPOINTS[0], weights_only=True)
    state["config"]["model"] = {"_target_": "os.system", "command": "true"}
    torch.save(state, configured)
    files = {"npy": [arrays], "npz": [packed], "pt": [pickled, configured]}
    for suffix, buffers in files.items():
        yield from ((suffix, buffer.getvalue(), None) for buffer in buffers)


def _out_of_time(signal_number: int, frame: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def read_one(number: int, folder: Path) -> tuple[str, str, str]:
    """Kind of file, outcome (error, result, or what is a failure), and its text."""
    files = sources()
    suffix, data, columns = files[number % len(files)]
    path = folder / f"file.{suffix}"
    path.write_bytes(mutated(data, suffix, [d for s, d, _ in files if s == suffix], number))
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fault = check_checkpoint(path) if suffix == "pt" else check_data(path, columns)
    except InputError as error:
        return suffix, "error", str(error)
    except TimeoutError as error:
        return suffix, "slow", str(error)
    except BaseException as error:
        return suffix, type(error).__name__, str(error)[:300]
    finally:
        signal.alarm(0)
    return suffix, "result" if fault is None else "unsound", fault or ""


def check_data(path: Path, columns: str | None) -> str | None:
    """What is wrong with the cloud or mesh that is read, if anything is.

    Raises:
        InputError: the file is refused.
    """
    raw = read_cloud(path, SAMPLES, columns=columns)
    if raw.points.ndim != 2 or raw.points.shape[1] != 3 or not np.isfinite(raw.points).all():
        return "points"
    if raw.normals is not None and raw.normals.shape != raw.points.shape:
        return "normals"
    cloud = load(path, mesh_samples=SAMPLES, columns=columns)
    if not np.isfinite(cloud.points.numpy()).all() or not np.isfinite(cloud.normals.numpy()).all():
        return "cloud"
    if raw.mesh is None:
        return None if len(read_file(path, columns).points) >= 4 else "points lost"
    vertices, faces = read_mesh(path)
    if not (faces.min() >= 0 and faces.max() < len(vertices)):
        return "indices"
    if not np.isfinite(vertices[faces]).all() or not np.isfinite(raw.normals).all():
        return "mesh"
    return None


def check_checkpoint(path: Path) -> str | None:
    """What is wrong with the checkpoint that is read, if anything is.

    Raises:
        InputError: the file is refused.
    """
    checkpoint = Checkpoint.load(path)
    network = checkpoint.rebuilt_network()
    missing = network.state_dict().keys() ^ checkpoint.network.keys()
    return f"weights {missing}" if missing else None
