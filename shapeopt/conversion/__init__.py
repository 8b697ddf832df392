"""Smooth networks made piecewise affine, and how far that moves the surface."""

from shapeopt.conversion.convert import Conversion, convert
from shapeopt.conversion.displacement import displacement

__all__ = ["Conversion", "convert", "displacement"]
