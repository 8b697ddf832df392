"""Fewer polygons for a finished surface: neurons without a fold go, flat neighbours merge."""

from shapeopt.simplify.merging import MergedMesh, merge_polygons, merge_to_count
from shapeopt.simplify.neurons import Reduction, idle_neurons, remove_idle_neurons

__all__ = [
    "MergedMesh",
    "Reduction",
    "idle_neurons",
    "merge_polygons",
    "merge_to_count",
    "remove_idle_neurons",
]
