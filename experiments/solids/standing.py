"""Whether a solid stands: checks of their own, which share no code with the balance loss."""

from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.spatial import ConvexHull


def standing(mesh: trimesh.Trimesh, tolerance: float) -> dict[str, Any]:
    """Where the centre of mass is over the support, and how far the solid tips when let go.

    Args:
        mesh: closed; down is -z.
        tolerance: height above the lowest vertex that still touches the ground, units of the mesh.

    Returns:
        center: of mass.
        support: corners of the convex hull of the lowest vertices, counter-clockwise.
        depth: of the centre inside the support; negative outside, at most the distance to it.
        tips: angle it turns by until it rests, degrees.
    """
    vertices = np.asarray(mesh.vertices)
    center = np.asarray(mesh.center_mass)
    lowest = vertices[vertices[:, 2] <= vertices[:, 2].min() + tolerance, :2]
    hull = ConvexHull(lowest)
    # Each row is a side's outward unit normal and minus its place: the value is the height over it.
    heights = hull.equations @ np.append(center[:2], 1)
    return {
        "center": center.tolist(),
        "support": lowest[hull.vertices].tolist(),
        "depth": float(-heights.max()),
        "tips": tipping_angle(mesh),
    }


def tipping_angle(mesh: trimesh.Trimesh) -> float:
    """Angle between -z and what is down once the solid has rolled to rest, in degrees.

    It rests on a face of its convex hull. It begins on the one straight below its centre of mass
    and rolls over the side that the centre is beyond, until the centre is over the face. Each
    turn lowers the centre, so this ends.
    """
    hull = mesh.convex_hull
    center = np.asarray(mesh.center_mass)
    corners = np.asarray(hull.triangles) - center
    normals = np.asarray(hull.face_normals)
    neighbours = _neighbours(np.asarray(hull.faces))
    heights = (corners[:, 0] * normals).sum(axis=1)
    # A ray from inside leaves a convex solid through the plane it meets first.
    downward = normals @ np.array([0.0, 0.0, -1.0])
    face = int(np.argmin(np.where(downward > 1e-9, heights / np.maximum(downward, 1e-9), np.inf)))
    while True:
        beyond = _beyond(corners[face], normals[face])
        side = int(np.argmax(beyond))
        following = neighbours[face, side]
        # The second condition ends it where the hull's triangles lie in one plane.
        if beyond[side] <= 0 or heights[following] >= heights[face] - 1e-12:
            return float(np.degrees(np.arccos(np.clip(downward[face], -1, 1))))
        face = following


def _beyond(corners: Float[np.ndarray, "3 3"], normal: Float[np.ndarray, "3"]) -> np.ndarray:
    """How far the origin's projection on a triangle is beyond each of its sides [3]."""
    sides = np.roll(corners, -1, axis=0) - corners
    outward = np.cross(sides, normal)
    lengths = np.maximum(np.linalg.norm(outward, axis=1), 1e-300)
    return -(corners * outward).sum(axis=1) / lengths


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """The triangle across each side of each triangle of a closed mesh, [t, 3]."""
    sides = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
    owner = {(int(a), int(b)): i // 3 for i, (a, b) in enumerate(sides)}
    return np.array([owner[int(b), int(a)] for a, b in sides]).reshape(-1, 3)
