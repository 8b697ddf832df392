"""From a file to a normalised cloud with a surface to measure against."""

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from shapeopt.data.bunny import bunny_sdf
from shapeopt.data.cloud import PointCloud, check_points, normalise, unit_normals
from shapeopt.data.implicit_sampling import ImplicitFunction
from shapeopt.data.normals import estimate_normals
from shapeopt.data.orientation import outwardness
from shapeopt.data.outliers import stray_points
from shapeopt.data.reading import RawCloud, read_cloud
from shapeopt.data.reference import CloudReference, ImplicitReference, MeshReference, Reference
from shapeopt.data.scans import fetch_scan
from shapeopt.errors import InputError
from shapeopt.shipped import find_file

logger = logging.getLogger(__name__)

NormalsFrom = Literal["given", "flipped", "estimated"]
FACES_IN = -0.1
"""Mean cosine to the directions from the middle: 1 for a ball, 0.1 for a thin shell."""

# A cloud sampled from a formula says so in a comment of its .ply header. So the file itself
# brings its true surface along, and `data.path=other.ply` needs no second setting.
IMPLICIT_SHAPES: dict[str, ImplicitFunction] = {"shapeopt implicit shape: bunny": bunny_sdf}


def load(
    path: str | Path,
    margin: float = 0.05,
    mesh_samples: int = 100_000,
    neighbours: int = 12,
    seed: int = 0,
    *,
    columns: str | None = None,
    normals: NormalsFrom | None = None,
    remove_stray: bool = False,
) -> PointCloud:
    """Loads a cloud or mesh, normalises it and attaches what is known of the true surface.

    The reference is the formula for the shipped bunny, the mesh if the file holds one, and
    otherwise the cloud itself. A log message says what was done to the data.

    Args:
        path: see `read_cloud`. A relative path is looked for in the working directory, then in
            what ships with the package: data/bunny.ply is found from anywhere.
        margin: room left on both ends of the longest side, as a fraction of the box's side.
        mesh_samples: points drawn from a mesh.
        neighbours: points in each plane fit, if the normals have to be estimated.
        seed: of the points drawn from a mesh.
        columns: what the columns of rows of numbers are, see `read_cloud`; None: as can be seen.
        normals: "given", as in the file; "flipped", those the other way round; of a cloud also
            "estimated". None: as given, if they face out, and estimated if there are none; of a
            mesh, triangles that face in are turned.
        remove_stray: leave out a cloud's points that lie apart, see `stray_points`.

    Raises:
        InputError: the message says what is wrong with the file and what to do; among others,
            normals that face in.
    """
    path = find_file(path)
    if normals not in (None, *get_args(NormalsFrom)):
        raise InputError(f"data.normals={normals} is none of {', '.join(get_args(NormalsFrom))}")
    raw = read_cloud(path, mesh_samples, seed, columns, turn=normals is None)
    try:
        if raw.mesh is not None:
            raw = _as_told(raw, normals, remove_stray)
        else:
            raw = _prepared(raw, neighbours, normals, remove_stray)
        assert raw.normals is not None
        cloud = normalise(raw.points, raw.normals, margin)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return replace(cloud, reference=_reference(raw, cloud))


def _as_told(raw: RawCloud, normals: NormalsFrom | None, remove_stray: bool) -> RawCloud:
    """A mesh, turned if asked for; InputError for what only a cloud can have."""
    if normals == "estimated" or remove_stray:
        raise InputError(
            "holds a mesh; data.normals=estimated and data.remove_stray are for clouds"
        )
    if normals != "flipped":
        return raw
    assert raw.mesh is not None
    assert raw.normals is not None
    return replace(raw, mesh=(raw.mesh[0], raw.mesh[1][:, ::-1]), normals=-raw.normals)


def _prepared(
    raw: RawCloud, neighbours: int, normals: NormalsFrom | None, remove_stray: bool
) -> RawCloud:
    """A cloud with normals that face out, without repeated points if they are estimated."""
    if raw.normals is None and normals in ("given", "flipped"):
        raise InputError(f"data.normals={normals}, but the file has no normals")
    if raw.normals is None or normals == "estimated":
        kept = np.sort(np.unique(raw.points, axis=0, return_index=True)[1])
        if len(kept) < len(raw.points):
            repeated = len(raw.points) - len(kept)
            logger.info("%d of %d points are repeated; once counts.", repeated, len(raw.points))
        raw = _without_stray(replace(raw, points=raw.points[kept], normals=None), remove_stray)
        check_points(raw.points)
        logger.info("The normals of %d points are estimated.", len(raw.points))
        return replace(raw, normals=estimate_normals(raw.points, neighbours))
    assert raw.normals is not None
    raw = _without_stray(raw, remove_stray)
    check_points(raw.points)
    assert raw.normals is not None
    unit = unit_normals(raw.normals, len(raw.points))
    if normals is None and outwardness(raw.points, unit) < FACES_IN:
        raise InputError(
            "its normals face into the solid. data.normals=flipped turns them, "
            "data.normals=estimated estimates others, data.normals=given takes them as they are"
        )
    return replace(raw, normals=-unit if normals == "flipped" else unit)


def _without_stray(raw: RawCloud, remove: bool) -> RawCloud:
    """Without points that lie apart, or with a word about them if they make the cloud larger."""
    unique, place = np.unique(raw.points, axis=0, return_inverse=True)
    stray = stray_points(unique)[place.reshape(-1)]
    if not stray.any():
        return raw
    if remove:
        logger.info("%d of %d points lie apart and are left out.", stray.sum(), len(stray))
        normals = None if raw.normals is None else raw.normals[~stray]
        return replace(raw, points=raw.points[~stray], normals=normals)
    side, rest = (np.ptp(p, axis=0).max() for p in (raw.points, raw.points[~stray]))
    if side > 1.2 * rest:
        warnings.warn(
            f"{stray.sum()} of {len(stray)} points lie apart and make the cloud {side / rest:.2g} "
            "times as large; data.remove_stray=true leaves them out",
            stacklevel=4,
        )
    return raw


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
