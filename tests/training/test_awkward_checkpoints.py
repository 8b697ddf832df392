"""Checkpoints that are not what they should be: an error that says so, and nothing is run."""

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shapeopt.errors import InputError
from shapeopt.training.checkpoints import Checkpoint, extract_checkpoint

WHOLE = (Path(__file__).parents[1] / "files" / "version_0.1_fit.pt").read_bytes()
DAMAGED = "is damaged or no checkpoint"


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The checkpoint with something else in it."""
    state = torch.load(io.BytesIO(WHOLE), weights_only=True)
    buffer = io.BytesIO()
    result = change(state)
    torch.save(state if result is None else result, buffer)
    return buffer.getvalue()


def flipped(place: int) -> bytes:
    return WHOLE[:place] + bytes([WHOLE[place] ^ 1]) + WHOLE[place + 1 :]


def packed() -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(WHOLE)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return buffer.getvalue()


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def set_nan(state: dict[str, Any]) -> None:
    next(iter(state["network"].values()))[0] = float("nan")


def other_width(state: dict[str, Any]) -> None:
    state["config"]["model"]["width"] += 1


def other_target(state: dict[str, Any]) -> None:
    state["config"]["model"] = {"_target_": "os.system", "command": "true"}


CASES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", DAMAGED),
    "text": (b"no checkpoint at all\n", DAMAGED),
    "cut": (WHOLE[: len(WHOLE) // 2], DAMAGED),
    "cut by a byte": (WHOLE[:-1], DAMAGED),
    "a bit changed": (flipped(len(WHOLE) // 3), DAMAGED),
    "packed": (packed(), DAMAGED),
    "a state dict alone": (changed(lambda state: state["network"]), DAMAGED),
    "a list": (changed(lambda state: [1, 2, 3]), DAMAGED),
    "a part missing": (changed(lambda state: state.pop("seconds") and None), DAMAGED),
    "a part too many": (changed(lambda state: state.update(more=1)), DAMAGED),
    "a scale of 0": (changed(lambda state: state.update(scale=0.0)), DAMAGED),
    "weights that are text": (changed(lambda state: state["network"].update(a="b")), DAMAGED),
    "an object that runs a command": (changed(lambda state: state.update(step=Runs())), DAMAGED),
    "a configuration that runs a command": (changed(other_target), "may not run other code"),
    "another width": (changed(other_width), "cannot be built again"),
    "weights that are nan": (changed(set_nan), "NaN or infinite"),
}


@pytest.mark.parametrize("name", CASES)
def test_awkward_checkpoint(tmp_path, name):
    data, words = CASES[name]
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=re.escape("a.pt") + f".*({words})|{words}"):
        extract_checkpoint(path)


def test_the_whole_one_is_read(tmp_path):
    (tmp_path / "a.pt").write_bytes(WHOLE)
    assert Checkpoint.load(tmp_path / "a.pt").network
