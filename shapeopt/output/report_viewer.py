"""The shapes of a report: their data, and the controls that turn and colour them."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.fans import right_fans
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.polygon_values import Distance, polygon_values

QUANTITIES = {
    "area": {
        "title": "polygon area",
        "legend": "polygon area (square units of the file)",
        "log": True,
    },
    "bending": {
        "title": "dihedral angle",
        "legend": "largest dihedral angle of each polygon (degrees)",
        "log": False,
    },
    "distance": {
        "title": "distance to the data",
        "legend": "distance to the data, from the polygon's middle (units of the file)",
        "log": True,
    },
}
"""Of `polygon_values`: what the page calls them."""


def shapes_data(
    surfaces: Mapping[str, PolygonMesh],
    steps: Sequence[int],
    between: Mapping[int, PolygonMesh],
    distance: Distance | None,
) -> list[dict[str, Any]]:
    """The shapes as the page's drawing code wants them, by step where they have one.

    Args:
        surfaces: name -> mesh in 3D.
        steps: of each of them; or empty, and nothing is between them.
        between: step -> mesh.
        distance: of points to the data.

    Raises:
        InputError: one is a polyline in 2D, or has a vertex that is not finite.
    """
    places = steps or range(len(surfaces))
    shapes = [*zip(places, surfaces, surfaces.values(), strict=True)]
    shapes += [(step, "", surface) for step, surface in between.items()]
    shapes.sort(key=lambda shape: shape[0])
    return [
        {"name": name or None, "step": step if steps else None} | _shape_data(surface, distance)
        for step, name, surface in shapes
    ]


def _shape_data(surface: PolygonMesh, distance: Distance | None) -> dict[str, Any]:
    """Vertices in full precision: the page writes mesh files of them."""
    mesh, owners = right_fans(mesh_arrays(surface))
    in_pieces = len(owners) > surface.num_faces
    values = polygon_values(surface, distance)
    return {
        "vertices": _base64(mesh.vertices.astype("<f8")),
        "corners": _base64(mesh.corners.astype("<u4")),
        "sizes": _base64(mesh.sizes.astype("<u4")),
        "owners": _base64(owners.astype("<u4")) if in_pieces else None,
        "polygons": surface.num_faces,
        "closed": mesh.is_closed,
        "values": {name: _base64(value.astype("<f4")) for name, value in values.items()},
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def viewer_html(shapes: Sequence[Mapping[str, Any]]) -> str:
    """The window and the controls below it; the last shape with a name is shown first."""
    names = [i for i, shape in enumerate(shapes) if shape["name"] is not None]
    if not names:
        return ""
    buttons = "".join(
        f'<button aria-pressed="{str(i == names[-1]).lower()}" data-shape="{i}">'
        f"{escape(shapes[i]['name'])} <small>{shapes[i]['polygons']:,} polygons</small></button>"
        for i in names
    )
    colors = "".join(
        f'<option value="{name}">{QUANTITIES[name]["title"]}</option>'
        for name in shapes[names[-1]]["values"]
    )
    return f"""<div class="card" id="shape">
<div class="viewer"><canvas tabindex="0" role="img" aria-label="the shape: arrow keys turn it,
plus and minus zoom, Home resets the view"></canvas>
<div class="legend" id="legend" hidden><div class="title"></div><div class="ramp"></div>
<div class="marks"></div></div>
<div class="message" hidden>
This browser shows no WebGL 2; the pictures and the mesh files have the same shape.</div></div>
<div class="bar"><span class="tabs" role="group" aria-label="surface">{buttons}</span>
{_slider_html(shapes, names)}
<label>colour <select id="color"><option value="">none</option>{colors}</select></label>
<label><input type="checkbox" id="edges" checked>polygon edges</label>
<span class="save">save as <span class="tabs" role="group" aria-label="save the shape as">
<button data-format="ply">PLY</button><button data-format="obj">OBJ</button>
<button data-format="stl">STL</button></span></span>
<span class="note mouse">drag or arrow keys to turn · wheel or +, - to zoom ·
shift-drag to move · double-click to reset</span>
<span class="note touch">drag to turn · two fingers to zoom and move</span>
</div></div>"""


def _slider_html(shapes: Sequence[Mapping[str, Any]], names: Sequence[int]) -> str:
    if len(names) == len(shapes):
        return ""
    return f"""<label class="steps"><input type="range" id="step" min="0" max="{len(shapes) - 1}"
value="{names[-1]}" aria-label="step of the training">
<output id="at" for="step"></output></label>"""
