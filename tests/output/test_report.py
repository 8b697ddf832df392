import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from shapeopt.errors import InputError
from shapeopt.mesh.certificate import Finding
from shapeopt.output.report import MAX_CURVE_POINTS, metric_curves, write_report
from shapeopt.output.viewing import render_png
from tests.output.meshes import FAR, cube, prism


def embedded(page):
    """The data that the page draws from."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text.group(1))


class Balance(HTMLParser):
    """Checks that every element opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def full_report(tmp_path):
    picture = render_png({"cube": cube()}, tmp_path / "a.png", dpi=20)
    path = write_report(
        tmp_path / "report.html",
        "Cube <1>",
        {"before": cube(), "<after>": cube()},
        table=[{"": "<before>", "polygons": 123456, "distance": 0.00345678, "closed": True}],
        metrics=[
            {"step": 0, "loss/total": 1.0},
            {"step": 1, "loss/total": None, "</script>": float("nan")},
        ],
        checks={"<after>": [Finding("open", False), Finding("area < 1", True)]},
        pictures={"before & after": picture},
        config="width: 16  # <small>",
        subtitle="a & b",
    )
    return path.read_text(encoding="utf-8")


def test_page_is_whole_escaped_and_needs_no_network(tmp_path):
    page = full_report(tmp_path)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert "@@" not in page
    assert not re.search(r'(src|href)\s*=\s*"?(https?:)?//', page)
    for text in ("Cube &lt;1&gt;", "&lt;after&gt;", "&lt;before&gt;", "a &amp; b", "&lt;small&gt;"):
        assert text in page
    assert "<1>" not in page
    assert "123,456" in page
    assert "0.003457" in page
    assert page.count("</script>") == 2
    assert '<li class="bad">open</li><li class="good">area &lt; 1</li>' in page


def test_shapes_are_embedded_as_polygons(tmp_path):
    shapes = embedded(full_report(tmp_path))["surfaces"]
    assert len(shapes) == 2
    arrays = {k: base64.b64decode(shapes[0][k]) for k in ("vertices", "triangles", "edges")}
    vertices = np.frombuffer(arrays["vertices"], "<f4").reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1, rtol=1e-6)
    # z is up in the cube, y on the page, and still right-handed.
    was = cube().vertices.detach().numpy() / np.sqrt(3)
    np.testing.assert_allclose(vertices, np.stack([was[:, 0], was[:, 2], -was[:, 1]], 1), rtol=1e-6)
    assert len(arrays["triangles"]) == 4 * 3 * 12
    assert len(arrays["edges"]) == 4 * 2 * 12


def test_far_from_the_origin_the_shape_is_the_same(tmp_path):
    def vertices(surface):
        page = write_report(tmp_path / "a.html", "far", {"prism": surface})
        (shape,) = embedded(page.read_text(encoding="utf-8"))["surfaces"]
        return np.frombuffer(base64.b64decode(shape["vertices"]), "<f4")

    far = prism(7).scaled_and_moved(1, FAR)
    np.testing.assert_allclose(vertices(far), vertices(prism(7)), rtol=0, atol=1e-6)


def test_curves_are_grouped_thinned_and_have_gaps_where_not_finite():
    rows = [{"step": s, "mesh/polygons": s, "loss/a": float("inf"), "rate": 1} for s in range(5000)]
    rows[0]["late"] = None
    curves = metric_curves(rows)
    assert list(curves) == ["rate", "late", "loss/a", "mesh/polygons"]
    x = curves["mesh/polygons"]["x"]
    assert (len(x), x[0], x[-1]) == (MAX_CURVE_POINTS, 0, 4999)
    assert set(curves["loss/a"]["y"]) == {None}
    assert curves["late"] == {"x": [0], "y": [None]}


def test_everything_but_the_title_may_be_missing(tmp_path):
    page = write_report(tmp_path / "a.html", "Nothing", {}).read_text(encoding="utf-8")
    assert embedded(page) == {"surfaces": [], "curves": []}
    for heading in ("Summary", "Checks", "Curves", "Pictures", "Configuration"):
        assert f"<h2>{heading}" not in page


def test_bad_axis(tmp_path):
    with pytest.raises(InputError, match="up must be"):
        write_report(tmp_path / "a.html", "Cube", {"cube": cube()}, up="x")
