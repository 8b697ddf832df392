"""From a file to a normalised cloud with a surface to measure against."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shapeopt.data.bunny import bunny_sdf
from shapeopt.data.cloud import PointCloud, normalise
from shapeopt.data.implicit_sampling import ImplicitFunction
from shapeopt.data.normals import estimate_normals
from shapeopt.data.reading import RawCloud, read_cloud
from shapeopt.data.reference import CloudReference, ImplicitReference, MeshReference, Reference
from shapeopt.data.scans import fetch_scan
from shapeopt.shipped import find_file

# A cloud sampled from a formula says so in a comment of its .ply header. So the file itself
# brings its true surface along, and `data.path=other.ply` needs no second setting.
IMPLICIT_SHAPES: dict[str, ImplicitFunction] = {"shapeopt implicit shape: bunny": bunny_sdf}


def load(
    path: str | Path,
    margin: float = 0.05,
    mesh_samples: int = 100_000,
    neighbours: int = 12,
    seed: int = 0,
    columns: str | None = None,
) -> PointCloud:
    """Loads a cloud or mesh, normalises it and attaches what is known of the true surface.

    The reference is the formula for the shipped bunny, the mesh if the file holds one, and
    otherwise the cloud itself.

    Args:
        path: see `read_cloud`. A relative path is looked for in the working directory, then in
            what ships with the package: data/bunny.ply is found from anywhere.
        margin: room left on both ends of the longest side, as a fraction of the box's side.
        mesh_samples: points drawn from a mesh.
        neighbours: points in each plane fit, if the normals have to be estimated.
        seed: of the points drawn from a mesh.
        columns: what the columns of rows of numbers are, see `read_cloud`; None: as can be seen.

    Raises:
        InputError: the message says what is wrong with the file and what to do.
    """
    raw = read_cloud(find_file(path), mesh_samples, seed, columns)
    normals = estimate_normals(raw.points, neighbours) if raw.normals is None else raw.normals
    cloud = normalise(raw.points, normals, margin)
    return replace(cloud, reference=_reference(raw, cloud))


def load_scan(name: str, **options) -> PointCloud:
    """Loads one of the scans of `fetch_scan`, downloaded on first use. Options as for `load`."""
    return load(fetch_scan(name), **options)


def _reference(raw: RawCloud, cloud: PointCloud) -> Reference:
    for comment in raw.comments:
        if comment in IMPLICIT_SHAPES:
            return ImplicitReference(IMPLICIT_SHAPES[comment], cloud.normalisation)
    if raw.mesh is not None:
        vertices, faces = raw.mesh
        return MeshReference(cloud.normalisation.apply(torch.from_numpy(vertices)).numpy(), faces)
    return CloudReference(
        cloud.points.numpy().astype(np.float64), cloud.normals.numpy().astype(np.float64)
    )
