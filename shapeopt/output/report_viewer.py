"""The shapes of a report: their data, and the controls that turn and colour them."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.fans import right_fans
from shapeopt.output.mesh_arrays import mesh_arrays
from shapeopt.output.polygon_values import Distance, polygon_values

FLAT = 1e-4
"""Radians: triangles that bend less are one polygon."""

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
        {"name": name or None, "step": step if steps else None} | shape_data(surface, distance)
        for step, name, surface in shapes
    ]


def shape_data(surface: PolygonMesh, distance: Distance | None = None) -> dict[str, Any]:
    """One shape. Vertices in full precision: the page writes mesh files of them.

    Raises:
        InputError: it is a polyline in 2D, or has a vertex that is not finite.
    """
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


def triangles_data(
    vertices: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]
) -> dict[str, Any]:
    """One shape of triangles; those that lie in one plane side by side are one polygon."""
    import trimesh
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    one, two = mesh.face_adjacency[mesh.face_adjacency_angles < FLAT].T
    joined = coo_array((np.ones(len(one)), (one, two)), shape=[len(triangles)] * 2)
    polygons, owners = connected_components(joined, directed=False)
    return {
        "vertices": _base64(vertices.astype("<f8")),
        "corners": _base64(triangles.astype("<u4")),
        "sizes": _base64(np.full(len(triangles), 3, "<u4")),
        "owners": _base64(owners.astype("<u4")),
        "polygons": int(polygons),
        "closed": bool(mesh.is_watertight),
        "values": {},
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def viewer_html(shapes: Sequence[Mapping[str, Any]], live: bool = False) -> str:
    """The window and the controls below it; the last shape with a name is shown first.

    Args:
        shapes: see :func:`shapes_data`.
        live: more shapes will come: they have no names, and the last one is shown.
    """
    names = [i for i, shape in enumerate(shapes) if shape["name"] is not None]
    if not shapes:
        return ""
    first = len(shapes) - 1 if live else names[-1]
    buttons = "".join(
        f'<button aria-pressed="{str(i == first).lower()}" data-shape="{i}">'
        f"{escape(shapes[i]['name'])} <small>{shapes[i]['polygons']:,} polygons</small></button>"
        for i in names
    )
    tabs = f'<span class="tabs" role="group" aria-label="surface">{buttons}</span>'
    slider = _slider_html(len(shapes), first) if live or len(names) < len(shapes) else ""
    return f"""<div class="card" id="shape">
<div class="viewer"><canvas tabindex="0" role="img" aria-label="the shape: arrow keys turn it,
plus and minus zoom, Home resets the view"></canvas>
<div class="legend" id="legend" hidden><div class="title"></div><div class="ramp"></div>
<div class="marks"></div></div>
<div class="message" hidden>
This browser shows no WebGL 2; the pictures and the mesh files have the same shape.</div></div>
<div class="bar">{tabs if names else ""}
{slider}
{_colors_html(shapes[first]["values"])}
<label><input type="checkbox" id="edges" checked>polygon edges</label>
<span class="save">save as <span class="tabs" role="group" aria-label="save the shape as">
<button data-format="ply">PLY</button><button data-format="obj">OBJ</button>
<button data-format="stl">STL</button></span></span>
<span class="note mouse">drag or arrow keys to turn · wheel or +, - to zoom ·
shift-drag to move · double-click to reset</span>
<span class="note touch">drag to turn · two fingers to zoom and move</span>
</div></div>"""


def _slider_html(count: int, first: int) -> str:
    return f"""<label class="steps"><input type="range" id="step" min="0" max="{count - 1}"
value="{first}" aria-label="step of the training">
<output id="at" for="step"></output></label>"""


def _colors_html(quantities: Iterable[str]) -> str:
    options = "".join(
        f'<option value="{name}">{QUANTITIES[name]["title"]}</option>' for name in quantities
    )
    hidden = "" if options else " hidden"
    none = '<option value="">none</option>'
    return f'<label{hidden}>colour <select id="color">{none}{options}</select></label>'
