"""What training minimises: fit losses on a batch, geometry losses on the exact surface."""

from shapeopt.losses.area import Area
from shapeopt.losses.balance import Balance
from shapeopt.losses.base import FitLoss, GeometryLoss, SurfaceFitLoss
from shapeopt.losses.batch import Batch
from shapeopt.losses.centroid import Centroid
from shapeopt.losses.distance import Distance
from shapeopt.losses.edge_length import EdgeLength
from shapeopt.losses.eikonal import Eikonal
from shapeopt.losses.face_count import FaceCount
from shapeopt.losses.face_target import FaceTarget
from shapeopt.losses.inertia import Inertia
from shapeopt.losses.normal_variation import NormalVariation
from shapeopt.losses.normals import Normals
from shapeopt.losses.off_surface import OffSurface
from shapeopt.losses.on_surface import OnSurface
from shapeopt.losses.polygon_roundness import PolygonRoundness
from shapeopt.losses.short_edges import ShortEdges
from shapeopt.losses.side import Side
from shapeopt.losses.small_faces import SmallFaces
from shapeopt.losses.smoothness import Smoothness
from shapeopt.losses.solid_roundness import SolidRoundness
from shapeopt.losses.surface_distance import SurfaceDistance
from shapeopt.losses.topology import Topology
from shapeopt.losses.volume import Volume

__all__ = [
    "Area",
    "Balance",
    "Batch",
    "Centroid",
    "Distance",
    "EdgeLength",
    "Eikonal",
    "FaceCount",
    "FaceTarget",
    "FitLoss",
    "GeometryLoss",
    "Inertia",
    "NormalVariation",
    "Normals",
    "OffSurface",
    "OnSurface",
    "PolygonRoundness",
    "ShortEdges",
    "Side",
    "SmallFaces",
    "Smoothness",
    "SolidRoundness",
    "SurfaceDistance",
    "SurfaceFitLoss",
    "Topology",
    "Volume",
]
