"""Optimise neural implicit shapes through their exact polyhedral surface."""

from shapeopt.complex.polyhedral_complex import PolyhedralComplex
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.errors import EmptySurfaceError, ExtractionError, InputError
from shapeopt.extraction.extract import extract_complex, extract_surface
from shapeopt.extraction.tracing.warm_start import SurfaceTracer, WarmExtractor
from shapeopt.networks.relu_mlp import sdf_network

__all__ = [
    "EmptySurfaceError",
    "ExtractionError",
    "InputError",
    "PolyhedralComplex",
    "PolyhedralSurface",
    "SurfaceTracer",
    "WarmExtractor",
    "extract_complex",
    "extract_surface",
    "sdf_network",
]
