"""The numbers of a surface that are followed through a training."""

import math

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.losses import FaceCount


def surface_scalars(surface: PolyhedralSurface) -> dict[str, float]:
    """The numbers of a surface worth a curve; lengths in units of its vertices."""
    angles, interior = surface.dihedral_angles()
    lengths = surface.edge_lengths()
    return {
        "surface/polygons": surface.num_faces,
        "surface/expected_polygons": float(FaceCount(1.0)(surface)),
        "surface/vertices": surface.num_vertices,
        "surface/edge_length_total": float(lengths.sum()),
        "surface/edge_length_mean": float(lengths.mean()),
        "surface/bending_mean_degrees": math.degrees(
            float((angles * lengths[interior]).sum() / lengths[interior].sum())
        ),
        "surface/area": float(surface.area()),
    }
