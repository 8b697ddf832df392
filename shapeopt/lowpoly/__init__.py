"""Few faces for a scan: a union of convex parts is fitted, then shaped to a number of faces."""

from shapeopt.lowpoly.fit import FitSettings, fit
from shapeopt.lowpoly.prune import without_idle_planes
from shapeopt.lowpoly.shape import Goal, ShapeSettings, shape

__all__ = ["FitSettings", "Goal", "ShapeSettings", "fit", "shape", "without_idle_planes"]
