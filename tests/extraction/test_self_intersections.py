"""No surface goes through itself: by MeshLab, which knows nothing of networks.

A level set of a network in general position cannot. `pip install 'shapeopt[experiments]'` brings
the library; without it these tests are skipped.
"""

import numpy as np
import pytest
import torch

import shapeopt
from shapeopt import PolyhedralSurface
from tests.extraction.tracing.comparing import centred_mlp

pymeshlab = pytest.importorskip("pymeshlab")


def num_intersecting(vertices: np.ndarray, triangles: np.ndarray) -> int:
    """Triangles that go through another one."""
    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(vertices, triangles))
    meshes.compute_selection_by_self_intersections_per_face()
    return meshes.current_mesh().selected_face_number()


def surface_of(seed: int) -> PolyhedralSurface:
    """Of a network of 1 to 3 layers, every second one with caps."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(6, 14, size=rng.integers(1, 4)).tolist()
    with torch.no_grad():
        return shapeopt.extract_surface(centred_mlp(3, *widths, 1, seed=seed), cap=bool(seed % 2))


def test_the_library_notices_triangles_that_cross():
    corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.3, 0.2, 1], [0.2, 0.3, 1]]
    assert num_intersecting(np.array(corners), np.arange(6).reshape(2, 3)) == 2


@pytest.mark.parametrize(
    "seeds", [range(5), pytest.param(range(5, 200), marks=pytest.mark.slow)], ids=len
)
def test_surfaces_do_not_go_through_themselves(seeds):
    for seed in seeds:
        surface = surface_of(seed)
        assert num_intersecting(surface.vertices.numpy(), surface.triangles().numpy()) == 0, seed
