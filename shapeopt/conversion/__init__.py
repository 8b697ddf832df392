"""Smooth networks made piecewise affine, and how far that moves the surface."""

from shapeopt.conversion.convert import Conversion, convert
from shapeopt.conversion.displacement import displacement
from shapeopt.conversion.fit import GridField, fit

__all__ = ["Conversion", "GridField", "convert", "displacement", "fit"]
