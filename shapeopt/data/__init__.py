"""Point clouds and meshes in, normalised, with true surfaces to measure against."""

from shapeopt.data.bunny import bunny_sdf
from shapeopt.data.cloud import PointCloud, normalise
from shapeopt.data.implicit_sampling import sample_implicit
from shapeopt.data.loading import load, load_scan
from shapeopt.data.normalisation import Normalisation
from shapeopt.data.normals import estimate_normals
from shapeopt.data.pseudo_distance import pseudo_signed_distance, sample_training_points
from shapeopt.data.reading import read_cloud, read_mesh
from shapeopt.data.reference import CloudReference, ImplicitReference, MeshReference, Reference
from shapeopt.data.scans import fetch_scan

__all__ = [
    "CloudReference",
    "ImplicitReference",
    "MeshReference",
    "Normalisation",
    "PointCloud",
    "Reference",
    "bunny_sdf",
    "estimate_normals",
    "fetch_scan",
    "load",
    "load_scan",
    "normalise",
    "pseudo_signed_distance",
    "read_cloud",
    "read_mesh",
    "sample_implicit",
    "sample_training_points",
]
