"""What training minimises: fit losses on a batch, geometry losses on the exact surface."""

from shapeopt.losses.base import FitLoss, GeometryLoss
from shapeopt.losses.batch import Batch
from shapeopt.losses.distance import Distance
from shapeopt.losses.edge_length import EdgeLength
from shapeopt.losses.eikonal import Eikonal
from shapeopt.losses.face_count import FaceCount
from shapeopt.losses.normals import Normals
from shapeopt.losses.off_surface import OffSurface
from shapeopt.losses.on_surface import OnSurface
from shapeopt.losses.smoothness import Smoothness

__all__ = [
    "Batch",
    "Distance",
    "EdgeLength",
    "Eikonal",
    "FaceCount",
    "FitLoss",
    "GeometryLoss",
    "Normals",
    "OffSurface",
    "OnSurface",
    "Smoothness",
]
