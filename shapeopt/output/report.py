"""The report of a run: one HTML file that opens anywhere, with the shape to turn in it.

The page needs no network: data, drawing code and pictures are all inside. `report.html` is its
template; `@@name` marks what is filled in.
"""

import base64
import json
import math
import os
import string
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from shapeopt.errors import InputError
from shapeopt.mesh.certificate import Finding
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.files import write_whole
from shapeopt.output.polygon_values import Distance
from shapeopt.output.report_viewer import QUANTITIES, shapes_data, viewer_html

# More points than this a curve on the page cannot show.
MAX_CURVE_POINTS = 600


class _Template(string.Template):
    delimiter = "@@"


def write_report(
    path: str | os.PathLike[str],
    title: str,
    surfaces: Mapping[str, PolygonMesh],
    table: Sequence[Mapping[str, Any]] = (),
    metrics: Sequence[Mapping[str, Any]] = (),
    *,
    checks: Mapping[str, Sequence[Finding]] | None = None,
    pictures: Mapping[str, str | os.PathLike[str]] | None = None,
    config: str = "",
    subtitle: str = "",
    up: str = "z",
    steps: Sequence[int] = (),
    between: Mapping[int, PolygonMesh] | None = None,
    distance: Distance | None = None,
) -> Path:
    """Write the report of a run.

    Args:
        path: the HTML file to write. It appears whole or not at all.
        title: heading of the page.
        surfaces: name -> surface to turn in the browser; the last one is shown first.
        table: rows of the summary, each heading -> value; the first row gives the headings.
        metrics: rows as in `metrics.jsonl`: "step" and name -> value, None where not finite.
            Each name gets a curve; names that share a "group/" stand together.
        checks: name -> what was checked of a surface.
        pictures: caption -> PNG file.
        config: the resolved configuration, as text.
        subtitle: a line under the heading.
        up: the axis that points up, "y" or "z".
        steps: of the training that `surfaces` are from, in their order.
        between: step -> surface, which a slider shows; needs `steps`.
        distance: of points to the data, in units of the surfaces, to colour polygons by.

    Returns:
        The path written.

    Raises:
        InputError: `up` is no such axis, or a surface is a polyline in 2D or has a vertex that
            is not finite.
        OSError: the file cannot be written, or a picture not read.
    """
    if up not in ("y", "z"):
        raise InputError(f'up must be "y" or "z", not {up!r}.')
    page = page_html(
        title,
        shapes_data(surfaces, steps, between or {}, distance),
        metrics,
        up,
        subtitle,
        before=_table_html(table) + _checks_html(checks or {}),
        after=_pictures_html(pictures or {}) + _config_html(config),
    )
    return write_whole(path, page.encode())


def page_html(
    title: str,
    shapes: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]] = (),
    up: str = "z",
    subtitle: str = "",
    *,
    before: str = "",
    after: str = "",
    live: Mapping[str, Any] | None = None,
) -> str:
    """The page with its drawing code and data.

    Args:
        title, metrics, up, subtitle: as in :func:`write_report`.
        shapes: see `shapeopt.output.report_viewer`.
        before, after: HTML between the shapes and the curves, and below these.
        live: "version" of the shapes, after which the page asks its server for news, and the "unit"
            that their numbers count; None for a page that stays as it is.
    """
    curves, cards = curves_data(metrics)
    data = {
        "name": title,
        "up": up,
        "shapes": shapes,
        "quantities": QUANTITIES,
        "curves": curves,
        "live": live,
    }
    template = (
        resources.files("shapeopt.output").joinpath("report.html").read_text(encoding="utf-8")
    )
    return _Template(template).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        viewer=viewer_html(shapes, live is not None),
        before=before,
        curves=cards,
        after=after,
        # "<" only occurs inside JSON strings; escaped, none of them can end the script.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def curves_data(metrics: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, list[Any]]], str]:
    """The curves in the rows of a metrics file, and as HTML the cards to draw them into."""
    curves = metric_curves(metrics)
    return list(curves.values()), _curves_html(list(curves))


def metric_curves(
    metrics: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[Any]]]:
    """The curves in the rows of a metrics file: name -> steps "x" and values "y".

    Long curves are thinned to `MAX_CURVE_POINTS`; first and last point stay. Names without a
    group come first, the others by group.
    """
    points: dict[str, list[tuple[int, float | None]]] = {}
    for row in metrics:
        for name, value in row.items():
            if name != "step":
                finite = value is not None and math.isfinite(value)
                points.setdefault(name, []).append(
                    (row["step"], float(f"{value:.6g}") if finite else None)
                )
    curves = {}
    for name in sorted(points, key=lambda name: _group_and_label(name)[0]):
        kept = np.linspace(0, len(points[name]) - 1, min(len(points[name]), MAX_CURVE_POINTS))
        thinned = [points[name][i] for i in kept.round().astype(int)]
        curves[name] = {"x": [x for x, _ in thinned], "y": [y for _, y in thinned]}
    return curves


def _group_and_label(name: str) -> tuple[str, str]:
    """What stands before the first slash, empty if there is none, and the rest."""
    group, slash, label = name.partition("/")
    return (group, label) if slash else ("", name)


def _table_html(table: Sequence[Mapping[str, Any]]) -> str:
    if not table:
        return ""
    columns = list(table[0])
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(column))}</td>" for column in columns) + "</tr>"
        for row in table
    )
    return f"""<h2>Summary</h2>
<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"""


def _checks_html(checks: Mapping[str, Sequence[Finding]]) -> str:
    """One card per surface with a list in it."""
    if not checks:
        return ""
    cards = "".join(
        f'<div class="card check"><h3>{escape(name)}</h3><ul>'
        + "".join(
            f'<li class="{"good" if finding.good else "bad"}">{escape(finding.text)}</li>'
            for finding in findings
        )
        + "</ul></div>"
        for name, findings in checks.items()
    )
    return f'<h2>Checks</h2><div class="checks">{cards}</div>'


def _cell(value: Any) -> str:
    """A value as HTML, as a reader wants it: four digits, thousands apart."""
    if value is None:
        return "&ndash;"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return escape(str(value))


def _curves_html(names: Sequence[str]) -> str:
    """One empty card per curve; the page draws into them in this order."""
    if not names:
        return ""
    parts = ["<h2>Curves</h2>"]
    for group, members in groupby(map(_group_and_label, names), key=itemgetter(0)):
        cards = "".join(
            f'<div class="card chart"><div class="head"><span>{escape(label)}</span>'
            '<span class="value"></span></div></div>'
            for _, label in members
        )
        heading = f"<h3>{escape(group)}</h3>" if group else ""
        parts.append(f'{heading}<div class="charts">{cards}</div>')
    return "\n".join(parts)


def _pictures_html(pictures: Mapping[str, str | os.PathLike[str]]) -> str:
    if not pictures:
        return ""
    figures = "".join(
        f'<figure class="card"><img alt="{escape(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(Path(file).read_bytes()).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, file in pictures.items()
    )
    return f"<h2>Pictures</h2>{figures}"


def _config_html(config: str) -> str:
    if not config:
        return ""
    return f"""<h2>Configuration</h2>
<details class="card"><summary>Everything this run was given</summary>
<pre>{escape(config)}</pre></details>"""
