import errno
import os
import re
import shutil
import sys

import pytest

from shapeopt.output.files import append_whole, write_whole
from tests.output.limits import small_files


def test_what_was_there_is_replaced_in_folders_that_are_made(tmp_path):
    path = tmp_path / "new" / "er" / "a.txt"
    for data in (b"old and longer", b"new"):
        assert write_whole(str(path), data) == path
        assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_others_may_read_what_the_mask_allows(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = write_whole(tmp_path / "a.txt", b"old")
    with pytest.raises(OSError, match=re.escape(f"'{path}'")) as caught, small_files():
        write_whole(path, bytes(100_000))
    assert caught.value.filename == str(path)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_vanishes_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "run" / "a.txt"
    rename = os.replace

    def too_late(source, target):
        shutil.rmtree(path.parent)
        rename(source, target)

    monkeypatch.setattr(os, "replace", too_late)
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(path, b"data")
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_bytes(b"in the way")
    with pytest.raises(OSError, match=r"a\.txt"):
        write_whole(tmp_path / "run" / "a.txt", b"data")


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", pressed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.txt", b"data")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_added_whole_is_not_added(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("ab", buffering=0) as file:
        append_whole(file, b"first\n")
        with pytest.raises(OSError, match="too large"), small_files():
            append_whole(file, bytes(100_000))
        append_whole(file, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"
