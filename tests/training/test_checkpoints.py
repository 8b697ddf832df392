import errno
import os

import pytest
import torch

from shapeopt import InputError
from shapeopt.data import Normalisation
from shapeopt.training.checkpoints import Checkpoint


def checkpoint() -> Checkpoint:
    return Checkpoint(
        3,
        {"w": torch.ones(2)},
        {"state": {}},
        None,
        {"a": [1]},
        Normalisation(torch.zeros(3), 2.0),
        {"fit": 1.0},
    )


def test_comes_back_as_it_was(tmp_path):
    checkpoint().save(tmp_path / "new" / "last.pt")
    loaded = Checkpoint.load(tmp_path / "new" / "last.pt")
    assert (loaded.step, loaded.config, loaded.normalisation.scale) == (3, {"a": [1]}, 2.0)
    assert torch.equal(loaded.network["w"], torch.ones(2))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["last.pt"]


def test_a_failed_write_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint().save(path)

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"No space left.*last\.pt"):
        checkpoint().save(path)
    assert [found.name for found in tmp_path.iterdir()] == ["last.pt"]
    assert Checkpoint.load(path).step == 3


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pt"):
        Checkpoint.load(path)


def test_pickled_code_is_not_run(tmp_path):
    torch.save({"step": print}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="no checkpoint of shapeopt"):
        Checkpoint.load(tmp_path / "evil.pt")
