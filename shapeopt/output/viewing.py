"""Draw polyhedral surfaces into a picture, every polygon with its edges, as they really are.

The drawing is a small depth buffer in numpy: per pixel, the polygon nearest to the eye. An
edge is wherever two neighbouring pixels belong to different polygons, so hidden edges stay
hidden and the triangulation never shows. It is drawn a few times too large and averaged down.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.mesh_arrays import MeshArrays, mesh_arrays

SUPERSAMPLING = 3
BACKGROUND = np.array([1.0, 1.0, 1.0])
FACE = np.array([0.86, 0.82, 0.75])
INSIDE = np.array([0.55, 0.66, 0.80])  # back faces: seen through the hole of an open surface
EDGE = np.array([0.09, 0.10, 0.14])
# Directions towards the lights, in view axes (right, up, to the eye), and their strengths.
LIGHTS = ((np.array([-0.45, 0.70, 0.55]), 0.60), (np.array([0.85, 0.10, 0.35]), 0.26))
AMBIENT = 0.38
# Polygons smaller than this, in pixels across, get fainter edges: else they would be all edge.
FULL_EDGE_SIZE = 9.0
FRAGMENTS_AT_ONCE = 4_000_000


def render_png(
    surfaces: Mapping[str, PolygonMesh],
    path: str | os.PathLike[str],
    up: str = "z",
    azimuth: float | int = 35,
    elevation: float | int = 22,
    size: float | int = 5,
    dpi: int = 200,
) -> Path:
    """Draw the surfaces side by side, seen by one camera at one scale.

    Args:
        surfaces: title of the panel -> surface. One without polygons gives an empty panel.
        path: the PNG file to write.
        up: the axis that points up, "y" or "z".
        azimuth: how far the camera is turned about the vertical, in degrees.
        elevation: how far the camera looks down from above the horizon, in degrees.
        size: width and height of a panel, in inches.
        dpi: pixels per inch.

    Returns:
        The path written.

    Raises:
        InputError: no surfaces are given, or `up` is no such axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not surfaces:
        raise InputError("render_png needs at least one surface.")
    camera = camera_axes(up, azimuth, elevation)
    meshes = [mesh_arrays(surface) for surface in surfaces.values()]
    images = draw(meshes, camera, round(size * dpi))
    figure = Figure(figsize=(size * len(images), size + 0.6), dpi=dpi)
    FigureCanvasAgg(figure)
    for column, (title, mesh, image) in enumerate(zip(surfaces, meshes, images, strict=True)):
        left, width = column / len(images), 1 / len(images)
        axes = figure.add_axes((left, 0, width, size / (size + 0.6)))
        axes.imshow(image, interpolation="none", aspect="equal")
        axes.set_axis_off()
        middle = left + width / 2
        figure.text(middle, 1 - 0.20 / (size + 0.6), title, ha="center", va="center", size=14)
        count = f"{len(mesh.sizes):,} polygons"
        below = 1 - 0.45 / (size + 0.6)
        figure.text(middle, below, count, ha="center", va="center", size=10, color="0.4")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", facecolor=tuple(BACKGROUND))
    return path


def camera_axes(up: str, azimuth: float | int, elevation: float | int) -> Float[np.ndarray, "3 3"]:
    """The directions right, up and towards the eye as rows, in the axes of the surface."""
    a, e = np.radians([azimuth, elevation])
    eye = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    axes = np.stack([right, np.cross(eye, right), eye])
    if up == "z":
        return axes
    if up == "y":
        # The same view of a world in which y is up and z comes towards the viewer.
        return np.stack([axes[:, 0], axes[:, 2], -axes[:, 1]], axis=1)
    raise InputError(f'up must be "y" or "z", not {up!r}.')


def draw(
    meshes: Sequence[MeshArrays], camera: Float[np.ndarray, "3 3"], pixels: int
) -> list[Float[np.ndarray, "h w 3"]]:
    """One square picture per mesh, all at the same scale and about the same middle.

    Args:
        meshes: what to draw.
        camera: see `camera_axes`.
        pixels: width and height of the pictures.

    Returns:
        Pictures `[pixels, pixels, 3]`, values from 0 to 1.
    """
    views = [mesh.vertices @ camera.T for mesh in meshes]
    filled = [view for view in views if len(view)] or [np.zeros((1, 3))]
    low = np.min([view.min(axis=0) for view in filled], axis=0)
    high = np.max([view.max(axis=0) for view in filled], axis=0)
    fine = pixels * SUPERSAMPLING
    scale = 0.92 * fine / max(float((high - low)[:2].max()), 1e-12)
    middle = (low + high) / 2
    pictures = []
    for mesh, view in zip(meshes, views, strict=True):
        flat = (view - middle) * scale * np.array([1, -1, 1]) + np.array([fine / 2, fine / 2, 0])
        nearest = nearest_polygons(flat, mesh, fine)
        pictures.append(_paint(nearest, _shade(mesh.normals() @ camera.T)))
    return pictures


def nearest_polygons(
    points: Float[np.ndarray, "v 3"], mesh: MeshArrays, size: int
) -> Int[np.ndarray, "size size"]:
    """For each pixel of a square picture the polygon seen there, or -1.

    Args:
        points: the vertices in pixels (x to the right, y down) and depth (more is nearer).
        mesh: whose polygons to draw; its own vertices are not looked at.
        size: width and height of the picture.
    """
    triangles, faces = mesh.triangles()
    corners = points[mesh.corners][triangles]
    if mesh.is_closed:
        # Polygons that face away are hidden by others. Counter-clockwise is clockwise with y
        # down: the normal of one that faces the eye has a negative last component.
        facing = _normals(corners)[:, 2] < 0
        corners, faces = corners[facing], faces[facing]
    depth = np.full(size * size, -np.inf, dtype=np.float32)
    seen = np.full(size * size, -1, dtype=np.int64)
    for chosen, pixel, height in _fragments(corners, size):
        np.maximum.at(depth, pixel, height)
        nearest = height >= depth[pixel]
        seen[pixel[nearest]] = faces[chosen[nearest]]
    return seen.reshape(size, size)


def _fragments(
    corners: Float[np.ndarray, "t 3 3"], size: int
) -> Iterator[tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
    """Which triangle covers which pixel at which depth, in pieces that fit in memory.

    A pixel is covered if its centre is inside; one on a side belongs to both neighbours, so
    no gaps open between polygons.
    """
    normal = _normals(corners)
    low = np.clip(np.ceil(corners[:, :, :2].min(axis=1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(corners[:, :, :2].max(axis=1) - 0.5), -1, size - 1).astype(np.int64)
    width, height = np.maximum(high - low + 1, 0).T
    # A triangle seen edge-on covers nothing.
    height = np.where(np.abs(normal[:, 2]) > 1e-12, height, 0)
    work = np.cumsum(width * height) // FRAGMENTS_AT_ONCE
    for part in np.split(np.arange(len(corners)), np.flatnonzero(np.diff(work)) + 1):
        triangle, rank = _ragged(height[part])
        triangle = part[triangle]
        row = low[triangle, 1] + rank
        first, last = _span(corners[triangle], normal[triangle, 2], row + 0.5)
        first = np.maximum(first, low[triangle, 0])
        last = np.minimum(last, high[triangle, 0])
        span, rank = _ragged(np.maximum(last - first + 1, 0))
        # Depth is linear in x along a row.
        anchor, tilt = corners[triangle, 0], -normal[triangle, :2] / normal[triangle, 2:]
        start = anchor[:, 2] + tilt[:, 0] * (first + 0.5 - anchor[:, 0])
        start += tilt[:, 1] * (row + 0.5 - anchor[:, 1])
        depth = start[span] + tilt[span, 0] * rank
        yield triangle[span], (row * size + first)[span] + rank, depth.astype(np.float32)


def _span(
    corners: Float[np.ndarray, "n 3 3"], turn: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """First and last pixel whose centre is inside the triangle, on the line at height y."""
    first, last = np.full(len(y), -np.inf), np.full(len(y), np.inf)
    for i in range(3):
        start, side = corners[:, i], corners[:, (i + 1) % 3] - corners[:, i]
        with np.errstate(divide="ignore", invalid="ignore"):
            x = start[:, 0] + side[:, 0] / side[:, 1] * (y - start[:, 1])
        # Walking around the triangle its inside is always on the same hand; `turn` says which.
        from_left = side[:, 1] * turn
        first = np.where(from_left < 0, np.maximum(first, x), first)
        last = np.where(from_left > 0, np.minimum(last, x), last)
    hair = 1e-6
    return (
        np.ceil(np.clip(first, -1e9, 1e9) - 0.5 - hair).astype(np.int64),
        np.floor(np.clip(last, -1e9, 1e9) - 0.5 + hair).astype(np.int64),
    )


def _ragged(
    lengths: Int[np.ndarray, " k"],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """For lists of these lengths, end to end: the list of each item, and its place in it."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _normals(corners: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 3"]:
    """Normals of triangles, as long as twice their area."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _shade(normals: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    """Colours of polygons with these normals, given in view axes; a back face turns round."""
    back = normals[:, 2] < 0
    facing = np.where(back[:, None], -normals, normals)
    light = np.full(len(normals), AMBIENT)
    for direction, strength in LIGHTS:
        light += strength * np.clip(facing @ (direction / np.linalg.norm(direction)), 0, None)
    base = np.where(back[:, None], INSIDE * 0.85, FACE)
    return np.clip(base * (light / 0.95)[:, None], 0, 1)


def _paint(
    seen: Int[np.ndarray, "n n"], colors: Float[np.ndarray, "f 3"]
) -> Float[np.ndarray, "m m 3"]:
    """Colour the polygons, draw a line where two meet, and average down to the final size."""
    table = np.concatenate([colors, BACKGROUND[None]]).astype(np.float32)  # -1 is the last row
    line = np.zeros(seen.shape, dtype=bool)
    across, down = seen[:, 1:] != seen[:, :-1], seen[1:] != seen[:-1]
    # Marking the pixels on both sides gives a line two fine pixels wide.
    line[:, 1:] |= across
    line[:, :-1] |= across
    line[1:] |= down
    line[:-1] |= down
    n = len(seen) // SUPERSAMPLING
    blocks = (n, SUPERSAMPLING, n, SUPERSAMPLING)
    # Row by row of blocks, so the large picture is never held in colour.
    picture = np.empty((n, n, 3))
    share = line.reshape(blocks).mean(axis=(1, 3))[..., None]
    for i in range(n):
        rows = seen[i * SUPERSAMPLING : (i + 1) * SUPERSAMPLING]
        picture[i] = table[rows].reshape(SUPERSAMPLING, n, SUPERSAMPLING, 3).mean(axis=(0, 2))
    share *= _edge_strength(seen)
    return picture * (1 - share) + EDGE * share


def _edge_strength(seen: Int[np.ndarray, "n n"]) -> float:
    """How dark to draw the edges, from the mean size of the polygons that are seen."""
    filled = seen[seen >= 0]
    if not len(filled):
        return 1.0
    across = np.sqrt(len(filled) / len(np.unique(filled))) / SUPERSAMPLING
    return float(np.clip(across / FULL_EDGE_SIZE, 0.3, 1))
