import re
import sys
import types
from pathlib import Path

import pytest

from shapeopt.data import fetch_scan, scans
from shapeopt.data.scans import SCANS
from shapeopt.errors import InputError


def with_downloader(monkeypatch, retrieve, **others) -> None:
    stand_in = types.SimpleNamespace(retrieve=retrieve, **others)
    monkeypatch.setitem(sys.modules, "pooch", stand_in)


@pytest.mark.parametrize("name", SCANS)
def test_first_use_downloads_with_checksum(tmp_path, monkeypatch, name):
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        (Path(path) / fname).write_text("scan")

    with_downloader(monkeypatch, retrieve)
    path = fetch_scan(name, tmp_path)
    assert path.read_text() == "scan"
    assert asked == [(SCANS[name].url, SCANS[name].checksum)]
    assert re.fullmatch(r"md5:[0-9a-f]{32}|sha512:[0-9a-f]{128}", SCANS[name].checksum)
    assert fetch_scan(name, tmp_path) == path
    assert len(asked) == 1  # the second time it is there


@pytest.mark.parametrize("file", ["stanford-bunny.obj", "bunny.ply", "stanford_bunny.stl"])
def test_a_file_put_there_by_hand_is_used(tmp_path, monkeypatch, file):
    with_downloader(monkeypatch, lambda *args, **kwargs: pytest.fail("downloaded"))
    (tmp_path / file).write_text("scan")
    assert fetch_scan("stanford_bunny", tmp_path) == tmp_path / file


@pytest.mark.parametrize("error", [OSError("no route to host"), ValueError("MD5 hash differs")])
def test_without_network_it_says_what_to_put_where(tmp_path, monkeypatch, error):
    def retrieve(*args, **kwargs):
        raise error

    with_downloader(monkeypatch, retrieve)
    scan = SCANS["stanford_bunny"]
    expected = f"({error}). Get {scan.url} in some other way and save it as {tmp_path}"
    with pytest.raises(InputError, match=re.escape(expected) + r".BunnyMesh\.ply"):
        fetch_scan("stanford_bunny", tmp_path)


def test_the_checkout_comes_before_the_cache(tmp_path, monkeypatch):
    by_hand, cache = tmp_path / "data" / "scans", tmp_path / "cache"
    by_hand.mkdir(parents=True)
    monkeypatch.setattr(scans, "shipped_folder", lambda: tmp_path)
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append(path)
        path.mkdir()
        (path / fname).write_text("scan")

    with_downloader(monkeypatch, retrieve, os_cache=lambda name: str(cache))
    assert fetch_scan("dragon") == fetch_scan("dragon") == cache / "dragon.ply"
    assert asked == [cache]
    (by_hand / "dragon.obj").write_text("scan")
    assert fetch_scan("dragon") == by_hand / "dragon.obj"


def test_unknown_name():
    with pytest.raises(InputError, match="no scan 'teapot'; known are stanford_bunny, armadillo"):
        fetch_scan("teapot")
