"""``shapeopt view``: the page follows a run, or a file that changes."""

import json
import os
import shutil
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import torch

from shapeopt.commands import view
from shapeopt.commands.main import main
from shapeopt.data import Normalisation
from shapeopt.networks import sdf_network
from shapeopt.output import live_page
from shapeopt.output.export import write_mesh
from shapeopt.output.live_page import LivePage
from shapeopt.output.report_viewer import shape_data
from shapeopt.training.checkpoints import Checkpoint
from tests.browser import browser_page, picture
from tests.output.meshes import cube, prism

CONFIG = {
    "name": "ball",
    "up": "y",
    "model": {"_target_": "shapeopt.sdf_network", "width": 16, "depth": 3},
    "extractor": {"_target_": "shapeopt.Subdivision"},
    "surface": {"bounds": [-0.5, 0.5], "dtype": "float64"},
    "training": {
        name: {"_target_": "shapeopt.training.Phase", "steps": steps}
        for name, steps in (("fit", 10), ("shape", 4))
    },
}


def state(shift: float) -> dict[str, torch.Tensor]:
    """A ball; the larger the shift, the smaller it is."""
    torch.manual_seed(0)
    weights = sdf_network(16, 3).state_dict()
    weights[list(weights)[-1]] += shift
    return weights


def write(run: Path, step: int, *, shift: float = 0.0, **more: Any) -> None:
    """A checkpoint in a run's folder, at a time of its own."""
    units = Normalisation(torch.zeros(3, dtype=torch.float64), 0.5)
    config: Any = CONFIG
    saved = Checkpoint(step, state(shift), {}, more.pop("fitted", None), config, units, {}, **more)
    path = run / "checkpoints" / "last.pt"
    saved.save(path)
    os.utime(path, ns=(step, step))


@pytest.fixture
def folder(tmp_path) -> Path:
    run = tmp_path / "2026-01-01"
    run.mkdir()
    (run / "config.yaml").write_text(json.dumps(CONFIG))
    (run / "metrics.jsonl").write_text('{"step": 0, "loss/total": 1.0}\n')
    return run


def test_a_run_is_followed(folder):
    seen = view.follow(folder)
    assert next(seen).text == "waiting for the first checkpoint ..."
    assert next(seen) is None
    write(folder, 5)
    number, shape, text = next(seen)
    assert (number, shape["polygons"] > 10) == (5, True)
    assert text.startswith("step 5 of 14, fit phase: ")
    assert next(seen) is None
    write(folder, 12, fitted=state(0.01), history={11: state(0.02), 12: state(0.03)})
    new = [next(seen) for _ in range(4)]
    assert [found and found.number for found in new] == [12, 11, 10, None]
    assert new[0].text.startswith("step 12 of 14, shape phase: ")
    assert new[2].text.startswith("step 10 of 14, fit phase: ")


def test_a_run_goes_on_without_a_surface_and_with_a_damaged_file(folder):
    write(folder, 5, shift=9.0)
    seen = view.follow(folder)
    next(seen)
    assert "no zero in the box" in next(seen).text
    (folder / "checkpoints" / "last.pt").write_bytes(b"cut")
    assert "is damaged or no checkpoint" in next(seen).text
    write(folder, 7)
    assert next(seen).shape is not None
    shutil.rmtree(folder / "checkpoints")
    assert next(seen) is None


def test_a_mesh_file_is_shown_again_when_it_changes(tmp_path):
    path = write_mesh(cube(), tmp_path / "a.ply")
    seen = view.follow(path)
    assert next(seen).shape["polygons"] == 6  # of 12 triangles
    assert next(seen) is None
    write_mesh(prism(5), path)
    assert (found := next(seen)).number == 2
    assert (found.shape["polygons"], found.shape["closed"]) == (7, True)
    path.write_bytes(b"ply\nhalf")
    assert next(seen).shape is None
    path.unlink()
    assert next(seen) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.ply", "there is no "), (".", "is no folder of a run"), ("a.ply", "a.ply")],
)
def test_what_is_wrong_is_one_line(tmp_path, name, message):
    (tmp_path / "a.ply").write_bytes(b"ply\nhalf")
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        main(["view", str(tmp_path / name)])


def asked(page: LivePage, path: str) -> tuple[int, str]:
    host = HTTPConnection(page.address.removeprefix("http://"))
    host.request("GET", path)
    answer = host.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_has_what_there_is_and_gives_what_is_new(folder):
    write(folder, 5)
    seen = view.follow(folder)
    page = view.open_page(folder, 8480, None)
    other = view.open_page(folder, 8480, "z")
    try:
        assert other.address != page.address
        view.put(page, next(seen))
        status, text = asked(page, "/")
        assert (status, "waiting for the first" in text) == (200, True)
        assert "ball (2026-01-01)" in text
        view.put(page, next(seen))
        news = json.loads(asked(page, "/news?after=0")[1])
        assert [shape["step"] for shape in news["shapes"]] == [5]
        assert '<div class="card chart">' in news["cards"]
        assert json.loads(asked(page, f"/news?after={news['version']}")[1])["shapes"] == []
        text = asked(page, "/")[1]
        assert '"up":"y"' in text
        assert 'id="step"' in text
        assert asked(page, "/other")[0] == 404
    finally:
        page.close()
        other.close()


def test_the_earliest_shapes_make_room(monkeypatch):
    monkeypatch.setattr(live_page, "MOST_POLYGONS", 14)
    page = LivePage("a", 8480)
    try:
        for number, mesh in ((7, cube()), (3, cube()), (9, prism(5)), (1, prism(20))):
            page.add(number, shape_data(mesh), "")
        kept = [shape["step"] for shape in json.loads(asked(page, "/news")[1])["shapes"]]
    finally:
        page.close()
    assert kept == [7, 9]


def test_a_port_that_is_none_is_one_line(folder):
    with pytest.raises(SystemExit, match="no port from 70000"):
        main(["view", str(folder), "--port", "70000"])


@pytest.mark.slow
def test_in_a_browser_a_run_is_seen_to_move(folder, monkeypatch):
    """The command itself; each checkpoint changes the picture, and the slider goes back."""
    monkeypatch.setattr(view, "PAUSE", 0.1)
    pages: list[LivePage] = []
    opened = view.open_page
    monkeypatch.setattr(view, "open_page", lambda *given: pages.append(opened(*given)) or pages[-1])
    threading.Thread(target=view.run, args=(folder, 8480), daemon=True).start()
    while not pages:
        pass
    with browser_page(viewport={"width": 500, "height": 800}) as page:
        page.goto(pages[0].address)
        assert page.inner_text("#status") == "waiting for the first checkpoint ..."
        pictures = set()
        for step, shift in ((4, 0.0), (8, 0.04), (12, 0.08)):
            write(folder, step, shift=shift)
            shown = f"document.getElementById('at')?.innerText.startsWith('step {step} ')"
            page.wait_for_function(shown)
            assert page.inner_text("#status").startswith(f"step {step} of 14")
            pictures.add(picture(page, ".viewer"))
        page.focus("#step")
        page.keyboard.press("ArrowLeft")
        write(folder, 13, shift=0.1)
        page.wait_for_function("document.getElementById('step').max === '3'")
        assert page.inner_text("#at").startswith("step 8 ")
        assert len(pictures) == 3
        assert picture(page, ".viewer") in pictures
