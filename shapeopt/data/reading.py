"""Reads clouds and meshes from files, in the file's own units."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from shapeopt.data.cloud import check_points
from shapeopt.data.formats import RawCloud, read_file
from shapeopt.data.mesh_orientation import facing_out
from shapeopt.data.triangle_sampling import sample_triangles
from shapeopt.errors import InputError

logger = logging.getLogger(__name__)

__all__ = ["RawCloud", "read_cloud", "read_mesh"]

LARGEST = 1e100
"""Of a coordinate: products of three must be finite."""


def read_cloud(
    path: str | Path,
    mesh_samples: int = 100_000,
    seed: int = 0,
    columns: str | None = None,
    turn: bool = True,
) -> RawCloud:
    """Reads a cloud or a mesh; of a mesh, random points with the normals of its triangles.

    | | |
    |---|---|
    | meshes or clouds | .ply, .obj, .stl, .off, .glb, .gltf, .3mf |
    | clouds | .xyz, .txt, .csv, .pts, .asc, .npy, .npz, .pcd, .las, .laz |

    Args:
        path: lines or an array of rows may hold more than points, see `columns`; .npz the arrays
            `points` and, if there are any, `normals`.
        mesh_samples: points drawn from a mesh, uniform in area.
        seed: of these points.
        columns: what the columns of rows of numbers are, a letter for each: x, y, z, n (three, the
            normal), r, g, b, and - for what does not matter. None: as can be seen.
        turn: turn triangles that face in, see `facing_out`.

    Raises:
        InputError: the file is missing, empty, cut short, of an unknown kind or not numeric; its
            columns cannot be told apart; or its points cannot be a cloud (too few, not finite, all
            at one place).
    """
    if mesh_samples < 4:
        raise InputError(f"mesh_samples is {mesh_samples}; a surface needs at least 4 points")
    raw = read_file(Path(path), columns)
    try:
        if raw.mesh is not None:
            raw = _sampled(_turned(raw) if turn else raw, mesh_samples, seed)
        check_points(raw.points)
        _check_size(raw.points)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return raw


def read_mesh(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "t 3"]]:
    """Vertices (float64, the file's units) and triangles (int64) of a mesh, see `read_cloud`.

    Raises:
        InputError: as :func:`read_cloud`, and if the file holds no faces, or none with an area.
    """
    raw = read_file(Path(path))
    if raw.mesh is None:
        raise InputError(f"{path}: holds no faces; a mesh is wanted here, not a cloud")
    try:
        _check_mesh(*raw.mesh)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return raw.mesh


def _check_size(points: np.ndarray) -> None:
    """Raises InputError where lengths or areas would overflow or vanish."""
    side = float(np.ptp(points, axis=0).max())
    if not (np.abs(points).max() < LARGEST and side > 1 / LARGEST):
        raise InputError(f"coordinates reach {np.abs(points).max():.3g}; damaged?")


def _check_mesh(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Raises InputError, saying what is wrong, unless the mesh is a surface."""
    used = vertices[faces]
    if not np.isfinite(used).all():
        raise InputError("some vertices of the mesh are NaN or infinite")
    _check_size(used.reshape(-1, 3))
    if not np.linalg.norm(_twice_areas(vertices, faces), axis=1).sum() > 0:
        raise InputError(f"all {len(faces)} triangles of the mesh have zero area")


def _turned(raw: RawCloud) -> RawCloud:
    """The mesh with all triangles facing out, and a word about it."""
    assert raw.mesh is not None
    vertices, faces = raw.mesh
    check_points(vertices)
    _check_mesh(vertices, faces)
    outward = facing_out(vertices, faces)
    if turned := int((outward != faces).any(axis=1).sum()):
        logger.info("%d of %d triangles faced in and are turned.", turned, len(faces))
    return replace(raw, mesh=(vertices, outward))


def _sampled(raw: RawCloud, n: int, seed: int) -> RawCloud:
    """Puts samples of the mesh in place of its vertices."""
    assert raw.mesh is not None
    vertices, faces = raw.mesh
    check_points(vertices)
    _check_mesh(vertices, faces)
    normals = _twice_areas(vertices, faces)
    areas = np.linalg.norm(normals, axis=1, keepdims=True)
    points, face = sample_triangles(vertices, faces, n, seed)
    return RawCloud(points, normals[face] / areas[face], raw.mesh, raw.comments)


def _twice_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Of each triangle, along its normal."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)
