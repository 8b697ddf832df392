"""The report as somebody sees it who clicks."""

import hashlib

import numpy as np
import pytest
import torch

from shapeopt.data.reading import read_mesh
from shapeopt.output.report import write_report
from tests.browser import browser_page, picture
from tests.output.meshes import cube, prism
from tests.solids import prism_solid

pytestmark = pytest.mark.slow  # each starts a browser
COMB = [(0, 0), (7, 0), (7, 3), (6, 3), (5, 1), (4, 1), (4, 3), (3, 3), (2, 1), (1, 3), (0, 3)]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    surfaces = {"before": prism(7), "after": prism_solid(COMB).detach()}
    between = {12: prism(5), 15: cube()}
    path = tmp_path_factory.mktemp("report") / "report.html"
    rows = [{"step": step, "loss/total": 1 / (1 + step)} for step in range(20)]
    return write_report(
        path,
        "A run",
        surfaces,
        [{"": "polygons", "after": 13}],
        rows,
        steps=[10, 20],
        between=between,
        distance=lambda points: np.linalg.norm(points, axis=1),
    )


def drawn(page) -> str:
    """A name for what the canvas shows."""
    return hashlib.sha256(picture(page, ".viewer")).hexdigest()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_all_controls_work_by_keyboard(report, scheme):
    size = {"width": 400, "height": 800}
    with browser_page(viewport=size, color_scheme=scheme, has_touch=True) as page:
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        seen = [drawn(page)]
        assert page.inner_text("#at") == "step 20 · 13 polygons"
        page.focus("canvas")
        for key in ("ArrowLeft", "ArrowUp", "+"):
            page.keyboard.press(key)
            seen.append(drawn(page))
        page.keyboard.press("Home")
        page.focus("#edges")
        page.keyboard.press("Space")
        seen.append(drawn(page))
        page.focus("#step")
        for text in ("step 15 · 6 polygons", "step 12 · 7 polygons", "step 10 · 9 polygons"):
            page.keyboard.press("ArrowLeft")
            assert page.inner_text("#at") == text
            seen.append(drawn(page))
        assert page.get_attribute("[data-shape='0']", "aria-pressed") == "true"
        assert len(set(seen)) == len(seen)


def test_colours_have_a_legend_with_units(report):
    units = {"area": "square units", "bending": "degrees", "distance": "units of the file"}
    with browser_page() as page:
        page.goto(report.as_uri())
        plain = drawn(page)
        seen = {plain}
        assert page.locator("#legend").is_hidden()
        for name, unit in units.items():
            page.select_option("#color", name)
            seen.add(drawn(page))
            legend = page.inner_text("#legend")
            assert unit in legend
            low, _, high = legend.splitlines()[-3:]
            assert low.lstrip("≤ ") != high.lstrip("≥ ")
            assert high.startswith("≥ ")
        assert len(seen) == 4
        page.select_option("#color", "")
        assert drawn(page) == plain


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl"])
def test_the_shown_shape_is_saved_whole(report, tmp_path, suffix):
    """From the disk, without a server; a polygon that is not convex in pieces."""
    shapes = {"[data-shape='3']": prism_solid(COMB), "[data-shape='0']": prism(7)}
    with browser_page() as page:
        page.goto(report.as_uri())
        for (tab, mesh), name in zip(shapes.items(), ("after", "before"), strict=True):
            page.click(tab)
            with page.expect_download() as found:
                page.click(f"[data-format={suffix}]")
            assert found.value.suggested_filename == f"A_run_{name}.{suffix}"
            found.value.save_as(tmp_path / f"a.{suffix}")
            vertices, faces = read_mesh(tmp_path / f"a.{suffix}")
            cones = np.linalg.det(vertices[faces]) / 6
            assert cones.sum() == pytest.approx(float(mesh.volume().detach()), rel=1e-6)
            if suffix != "stl":
                assert torch.equal(torch.from_numpy(vertices), mesh.vertices.detach())
