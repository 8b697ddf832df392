"""The exact surface of a union of convex parts, from the planes alone."""

from shapeopt.extraction.halfspaces.extractor import HalfSpaces
from shapeopt.extraction.halfspaces.surface import UnionSurface

__all__ = ["HalfSpaces", "UnionSurface"]
