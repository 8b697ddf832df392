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
        if tag not in ("meta", "link", "img", "input"):
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


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_shapes_are_embedded_as_polygons(tmp_path):
    shapes = embedded(full_report(tmp_path))["shapes"]
    assert [shape["name"] for shape in shapes] == ["before", "<after>"]
    vertices = numbers(shapes[0]["vertices"], "<f8").reshape(-1, 3)
    np.testing.assert_array_equal(vertices, cube().vertices.detach())
    corners = numbers(shapes[0]["corners"], "<u4").reshape(6, 4)
    np.testing.assert_array_equal(corners, cube().face_vertices.view(6, 4))
    assert numbers(shapes[0]["sizes"], "<u4").tolist() == [4] * 6
    assert (shapes[0]["owners"], shapes[0]["polygons"], shapes[0]["closed"]) == (None, 6, True)


def test_far_from_the_origin_no_digit_is_lost(tmp_path):
    far = prism(7).scaled_and_moved(1, FAR)
    page = write_report(tmp_path / "a.html", "far", {"prism": far})
    (shape,) = embedded(page.read_text(encoding="utf-8"))["shapes"]
    vertices = numbers(shape["vertices"], "<f8").reshape(-1, 3)
    np.testing.assert_array_equal(vertices, far.vertices)


def test_steps_lie_between_the_named_shapes(tmp_path):
    surfaces, between = {"before": cube(), "after": prism(3)}, {7: prism(5), 6: prism(4)}
    path = tmp_path / "a.html"
    write_report(path, "a", surfaces, steps=[5, 9], between=between)
    page = path.read_text(encoding="utf-8")
    found = [(s["name"], s["step"], s["polygons"]) for s in embedded(page)["shapes"]]
    assert found == [("before", 5, 6), (None, 6, 6), (None, 7, 7), ("after", 9, 5)]
    assert 'data-shape="3"' in page
    assert 'id="step" min="0" max="3"' in page
    write_report(path, "a", surfaces, steps=[5, 9])
    assert 'id="step" min' not in path.read_text(encoding="utf-8")


def test_polygons_have_numbers_to_be_coloured_by(tmp_path):
    def height(points):
        return np.abs(points[:, 2])

    page = write_report(tmp_path / "a.html", "a", {"prism": prism(3)}, distance=height)
    data = embedded(page.read_text(encoding="utf-8"))
    values = {name: numbers(v, "<f4") for name, v in data["shapes"][0]["values"].items()}
    # Three walls, the bottom, the top; the corner of a regular triangle bends by 120 degrees.
    wall, end = np.sqrt(3), 3 * np.sqrt(3) / 4
    np.testing.assert_allclose(values["area"], [wall] * 3 + [end] * 2, rtol=1e-6)
    np.testing.assert_allclose(values["bending"], [120] * 3 + [90] * 2, rtol=1e-6)
    np.testing.assert_allclose(values["distance"], [0.5] * 3 + [0, 1], atol=1e-6)
    assert set(values) == set(data["quantities"])


def test_a_distance_that_is_not_known_is_not_offered(tmp_path):
    page = full_report(tmp_path)
    assert '<option value="bending">' in page
    assert '<option value="distance">' not in page


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
    data = embedded(page)
    assert (data["shapes"], data["curves"]) == ([], [])
    for heading in ("Summary", "Checks", "Curves", "Pictures", "Configuration"):
        assert f"<h2>{heading}" not in page


def test_bad_axis(tmp_path):
    with pytest.raises(InputError, match="up must be"):
        write_report(tmp_path / "a.html", "Cube", {"cube": cube()}, up="x")
