"""Optimise neural implicit shapes through their exact polyhedral surface.

A name is imported at its first use, so that ``shapeopt --help`` need not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapeopt.complex.polyhedral_complex import PolyhedralComplex
    from shapeopt.complex.surface import PolyhedralSurface
    from shapeopt.conversion import convert, displacement
    from shapeopt.errors import EmptySurfaceError, ExtractionError, InputError
    from shapeopt.extraction.extract import extract_complex, extract_surface
    from shapeopt.extraction.extractor import Extractor
    from shapeopt.extraction.subdivision import Subdivision
    from shapeopt.extraction.tracing import Tracing
    from shapeopt.mesh.polygon_mesh import PolygonMesh
    from shapeopt.networks import load_network, sdf_network
    from shapeopt.output.plot import plot_complex

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
    "convert",
    "displacement",
    "extract_complex",
    "extract_surface",
    "load_network",
    "plot_complex",
    "sdf_network",
]

_HOMES = {
    "EmptySurfaceError": "errors",
    "ExtractionError": "errors",
    "Extractor": "extraction.extractor",
    "InputError": "errors",
    "PolygonMesh": "mesh.polygon_mesh",
    "PolyhedralComplex": "complex.polyhedral_complex",
    "PolyhedralSurface": "complex.surface",
    "Subdivision": "extraction.subdivision",
    "Tracing": "extraction.tracing",
    "convert": "conversion",
    "displacement": "conversion",
    "extract_complex": "extraction.extract",
    "extract_surface": "extraction.extract",
    "load_network": "networks",
    "plot_complex": "output.plot",
    "sdf_network": "networks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
