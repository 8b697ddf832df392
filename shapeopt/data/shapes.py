"""Solids given by a few numbers, as clouds with the exact mesh to measure against."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from shapeopt.data.cloud import PointCloud, normalise
from shapeopt.data.reference import MeshReference
from shapeopt.data.triangle_sampling import sample_triangles
from shapeopt.errors import InputError


def ellipsoid(
    radii: Sequence[float], samples: int = 20_000, margin: float = 0.05, seed: int = 0
) -> PointCloud:
    """An ellipsoid with these half axes, of 20,480 triangles.

    Args:
        radii: along x, y and z, any unit.
        samples: points drawn from the surface.
        margin: room left on both ends of the longest side, as a fraction of the box's side.
        seed: of the points.

    Raises:
        InputError: unless the radii are three positive numbers.
    """
    import trimesh

    _check_positive("radii", radii)
    sphere = trimesh.creation.icosphere(subdivisions=5)
    vertices = np.array(sphere.vertices) * np.array(radii)
    return _cloud(vertices, np.array(sphere.faces, np.int64), samples, margin, seed)


def box(
    sides: Sequence[float], samples: int = 20_000, margin: float = 0.05, seed: int = 0
) -> PointCloud:
    """A box with these sides; arguments and errors as for :func:`ellipsoid`."""
    import trimesh

    _check_positive("sides", sides)
    solid = trimesh.creation.box(extents=sides)
    return _cloud(np.array(solid.vertices), np.array(solid.faces, np.int64), samples, margin, seed)


def leaning_tower(
    radius: float,
    height: float,
    lean: float,
    samples: int = 20_000,
    margin: float = 0.05,
    seed: int = 0,
) -> PointCloud:
    """An upright cylinder sheared along x: foot and top are discs, the top moved by ``lean``.

    Its centre of mass is over the point ``lean / 2`` from the middle of the foot, so it tips over
    if ``lean`` is more than twice the radius::

                ______
               /     /
              /  c  /         c: centre of mass
             /   : /
            /____:/

    Args:
        radius, height, lean: any unit.
        samples, margin, seed: as for :func:`ellipsoid`.

    Raises:
        InputError: unless radius and height are positive and lean is a number.
    """
    import trimesh

    _check_positive("radius and height", (radius, height, 1))
    if not math.isfinite(lean):
        raise InputError(f"lean is {lean}; it must be a length")
    cylinder = trimesh.creation.cylinder(radius, height, sections=96)
    vertices = np.array(cylinder.vertices)
    vertices[:, 0] += lean * vertices[:, 2] / height
    return _cloud(vertices, np.array(cylinder.faces, np.int64), samples, margin, seed)


def _cloud(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "t 3"],
    samples: int,
    margin: float,
    seed: int,
) -> PointCloud:
    """Points of a mesh with the normals of its triangles, normalised, the mesh as reference."""
    points, face = sample_triangles(vertices, faces, samples, seed)
    mesh = MeshReference(vertices, faces)
    cloud = normalise(points, mesh.triangle_normals()[face], margin)
    moved = cloud.normalisation.apply(torch.from_numpy(vertices)).numpy()
    return replace(cloud, reference=MeshReference(moved, faces))


def _check_positive(name: str, values: Sequence[float]) -> None:
    if len(values) != 3 or not all(0 < value < math.inf for value in values):
        raise InputError(f"{name} must be positive numbers, three of them, not {list(values)}")
