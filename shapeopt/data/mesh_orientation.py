"""Triangles that all run the same way round, with the outside outside."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

CLOSED = 0.1
"""Of a part: length of the sum of its normals, by area, over the area."""
FLAT = 1e-3
"""Volume over area^1.5 below which a part has no inside; a ball has 0.094."""


def facing_out(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "t 3"]
) -> Int[np.ndarray, "t 3"]:
    """The same triangles in the same order, some of them the other way round.

    In each part that is connected through edges of two triangles, all run as most of its area does
    already. Then a closed part that encloses a negative volume is turned, unless it lies inside
    another one and makes a cavity; what lies inside a part that is turned is turned with it. Open
    parts stay as most of them is.

    Args:
        vertices: any units; equal positions are one vertex.
        faces: vertex numbers.
    """
    import igl

    _, weld = np.unique(vertices, axis=0, return_inverse=True)
    welded = np.ascontiguousarray(weld.reshape(-1)[faces], dtype=np.int64)
    solid = (welded != np.roll(welded, 1, axis=1)).all(axis=1)  # three different corners
    if not solid.any():
        return faces
    agreed, part = igl.bfs_orient(welded[solid])
    agreed, part = agreed.astype(np.int64), part.astype(np.int64)
    same = _same_way(agreed, welded[solid])
    x = (vertices - vertices[faces[solid]].mean(axis=(0, 1)))[faces[solid]]
    normals = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]) / 2
    areas = np.linalg.norm(normals, axis=1)
    for_it = np.bincount(part, np.where(same, areas, -areas))
    turned = same != (for_it >= 0)[part]
    normals[turned] *= -1
    turned ^= _inside_out(x, normals, part)[part]
    result = faces.copy()
    which = np.flatnonzero(solid)[turned]
    result[which] = result[which, ::-1]
    return result


def _same_way(one: Int[np.ndarray, "t 3"], two: Int[np.ndarray, "t 3"]) -> np.ndarray:
    """Whether triangles of the same corners are the same up to where they begin."""
    start = (one == two[:, :1]).argmax(axis=1)
    return one[np.arange(len(one)), (start + 1) % 3] == two[:, 1]


def _inside_out(
    corners: Float[np.ndarray, "t 3 3"],
    normals: Float[np.ndarray, "t 3"],
    part: Int[np.ndarray, " t"],
) -> np.ndarray:
    """Which parts are to be turned; `normals` are as long as the areas."""
    count = int(part.max()) + 1
    areas = np.bincount(part, np.linalg.norm(normals, axis=1), count)
    sums = np.stack([np.bincount(part, normals[:, i], count) for i in range(3)], axis=1)
    moments = (corners.mean(axis=1) * normals).sum(axis=1) / 3
    volumes = np.bincount(part, moments, count)
    is_closed = np.linalg.norm(sums, axis=1) < CLOSED * areas
    is_closed &= np.abs(volumes) > FLAT * np.maximum(areas, 1e-300) ** 1.5
    order = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[order], np.arange(count + 1))
    members = [order[a:b] for a, b in pairwise(starts.tolist())]
    low = np.array([corners[m].min(axis=(0, 1)) for m in members])
    high = np.array([corners[m].max(axis=(0, 1)) for m in members])
    turn = np.zeros(count, dtype=bool)
    largest_first = np.argsort(-np.abs(volumes))
    for rank, piece in enumerate(largest_first.tolist()):
        if not is_closed[piece]:
            continue
        point = corners[members[piece][0]].mean(axis=0)
        around = largest_first[:rank]
        around = around[is_closed[around] & ((low[around] < point) & (point < high[around])).all(1)]
        # The smallest of those around it decides.
        holders = [int(a) for a in around if abs(_winding(point, corners[members[a]])) > 0.5]
        turn[piece] = turn[holders[-1]] if holders else volumes[piece] < 0
    return turn


def _winding(point: Float[np.ndarray, "3"], corners: Float[np.ndarray, "t 3 3"]) -> float:
    """Winding number of triangles around a point (van Oosterom and Strackee, 1983)."""
    a, b, c = np.moveaxis(corners - point, 1, 0)
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    volume = (a * np.cross(b, c)).sum(axis=1)
    rest = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2(volume, rest).sum() / (2 * np.pi))
