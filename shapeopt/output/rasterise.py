"""Which polygon each pixel of a picture shows: a small depth buffer in numpy."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from shapeopt.output.mesh_arrays import MeshArrays

FRAGMENTS_AT_ONCE = 4_000_000
# Pixels; how far outside a triangle a pixel's centre may lie by rounding.
HAIR = 1e-6


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
    return (
        np.ceil(np.clip(first, -1e9, 1e9) - 0.5 - HAIR).astype(np.int64),
        np.floor(np.clip(last, -1e9, 1e9) - 0.5 + HAIR).astype(np.int64),
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
