"""Edge subdivision: the whole complex, or the part of it around the zero set."""

from shapeopt.extraction.subdivision.extractor import Subdivision
from shapeopt.extraction.subdivision.subdivide import subdivide

__all__ = ["Subdivision", "subdivide"]
