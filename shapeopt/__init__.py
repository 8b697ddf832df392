"""Optimise neural implicit shapes through their exact polyhedral surface."""

from shapeopt.complex.extract import PolyhedralComplex, extract_complex, extract_surface
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.warm_start import SurfaceTracer, WarmExtractor
from shapeopt.complex.zero_set import EmptySurfaceError
from shapeopt.errors import ExtractionError, InputError
from shapeopt.networks import sdf_network

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
