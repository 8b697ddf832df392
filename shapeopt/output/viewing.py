"""Draw polyhedral surfaces into a picture, every polygon with its edges, as they really are.

An edge is wherever two neighbouring pixels belong to different polygons, so hidden edges stay
hidden and the triangulation never shows. It is drawn a few times too large and averaged down.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.files import write_whole
from shapeopt.output.mesh_arrays import MeshArrays, mesh_arrays
from shapeopt.output.rasterise import nearest_polygons

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
        path: the PNG file to write. It appears whole or not at all.
        up: the axis that points up, "y" or "z".
        azimuth: how far the camera is turned about the vertical, in degrees.
        elevation: how far the camera looks down from above the horizon, in degrees.
        size: width and height of a panel, in inches.
        dpi: pixels per inch.

    Returns:
        The path written.

    Raises:
        InputError: no surfaces are given, one is a polyline in 2D or has a vertex that is not
            finite, or `up` is no such axis.
        OSError: the file cannot be written.
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
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=tuple(BACKGROUND))
    return write_whole(path, file.getvalue())


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
    covered = line.reshape(blocks).mean(axis=(1, 3))[..., None]
    for i in range(n):
        rows = seen[i * SUPERSAMPLING : (i + 1) * SUPERSAMPLING]
        picture[i] = table[rows].reshape(SUPERSAMPLING, n, SUPERSAMPLING, 3).mean(axis=(0, 2))
    strength = covered * _edge_strength(seen)
    return picture * (1 - strength) + EDGE * strength


def _edge_strength(seen: Int[np.ndarray, "n n"]) -> float:
    """How dark to draw the edges, from the mean size of the polygons that are seen."""
    filled = seen[seen >= 0]
    if not len(filled):
        return 1.0
    across = np.sqrt(len(filled) / len(np.unique(filled))) / SUPERSAMPLING
    return float(np.clip(across / FULL_EDGE_SIZE, 0.3, 1))
