"""Optimise neural implicit shapes through their exact polyhedral surface."""

from shapeopt.complex.polyhedral_complex import PolyhedralComplex
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import EmptySurfaceError, ExtractionError, InputError
from shapeopt.extraction.extract import extract_complex, extract_surface
from shapeopt.extraction.extractor import Extractor
from shapeopt.extraction.subdivision import Subdivision
from shapeopt.extraction.tracing import Tracing
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.networks import sdf_network

__all__ = [
    "EmptySurfaceError",
    "ExtractionError",
    "Extractor",
    "InputError",
    "PolygonMesh",
    "PolyhedralComplex",
    "PolyhedralSurface",
    "Subdivision",
    "Tracing",
    "extract_complex",
    "extract_surface",
    "sdf_network",
]
