"""How near a polyhedron is to a ball, and how near it can be."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shapeopt.mesh.moments import moments
from shapeopt.training.checkpoints import extract_checkpoint


def best_quotient(faces: int) -> float:
    """Largest isoperimetric quotient ``36 pi V^2 / A^3`` of convex polyhedra with so many faces.

    An upper bound, reached by the tetrahedron, the cube and the dodecahedron: L. Fejes Tóth, *The
    isepiphan problem for n-hedra*, American Journal of Mathematics 70 (1948). About 1 - 3.02 / n.
    """
    angle = math.pi * faces / (6 * (faces - 2))
    least = 54 * (faces - 2) * math.tan(angle) * (4 * math.sin(angle) ** 2 - 1)
    return 36 * math.pi / least


def ball_row(checkpoint: Path) -> dict[str, Any]:
    """Quotient and radii of a checkpoint's surface, in box lengths, by shapeopt and by trimesh."""
    surface, saved = extract_checkpoint(checkpoint)
    mesh = surface.to_trimesh()
    distances = np.linalg.norm(surface.vertices.numpy() - mesh.center_mass, axis=1)
    volume = float(moments(surface).volume)
    quotient = 36 * math.pi * volume**2 / float(surface.area()) ** 3
    return {
        "step": saved.step,
        "polygons": surface.num_faces,
        "closed": surface.is_closed,
        "euler_characteristic": surface.euler_characteristic,
        "volume": volume,
        "area": float(surface.area()),
        "quotient": quotient,
        "quotient_trimesh": 36 * math.pi * mesh.volume**2 / mesh.area**3,
        "quotient_hull": 36 * math.pi * mesh.convex_hull.volume**2 / mesh.convex_hull.area**3,
        "best_quotient": best_quotient(surface.num_faces),
        "radius": (3 * volume / (4 * math.pi)) ** (1 / 3),
        "radius_least": float(distances.min()),
        "radius_most": float(distances.max()),
        "seconds": saved.seconds,
    }


def course(metrics: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Quotient, relative volume error and polygons at every logged step of the shape phase."""
    rows = [row for row in metrics if "loss/solid_roundness" in row]
    start = rows[0]["step"]
    return {
        "step": [row["step"] - start for row in rows],
        "quotient": [1 / (1 + row["loss/solid_roundness"]) for row in rows],
        "volume_error": [math.sqrt(row["loss/volume"]) for row in rows],
        "polygons": [row["surface/polygons"] for row in rows],
    }
