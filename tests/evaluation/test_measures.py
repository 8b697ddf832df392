from dataclasses import dataclass

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.data import CloudReference, ImplicitReference, MeshReference
from shapeopt.evaluation.measures import DISTANCES, FRACTIONS, evaluate


@dataclass
class Surface:
    vertices: torch.Tensor
    faces: torch.Tensor

    def triangles(self) -> torch.Tensor:
        return self.faces


def square(height: float, side: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    corners = side * (np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) - 0.5)
    return np.column_stack([corners, np.full(4, height)]), np.array([[0, 1, 2], [0, 2, 3]])


def surface(vertices: np.ndarray, faces: np.ndarray) -> Surface:
    return Surface(
        torch.tensor(vertices, dtype=torch.float32).requires_grad_(), torch.tensor(faces)
    )


def test_two_parallel_squares():
    result = evaluate(surface(*square(0.1)), MeshReference(*square(0.0)), samples=2000)
    assert set(result) == {*DISTANCES, *FRACTIONS}
    assert all(isinstance(value, float) for value in result.values())
    assert all(result[name] == pytest.approx(0.1, rel=1e-6) for name in DISTANCES)
    assert result["normal_consistency"] == pytest.approx(1)
    assert result["precision"] == result["recall"] == result["f_score"] == 0


def test_what_is_missing_shows_in_one_direction_only():
    half = surface(*square(0.0, side=0.5))
    result = evaluate(half, MeshReference(*square(0.0)), samples=20_000)
    assert result["distance_to_truth"] == pytest.approx(0, abs=1e-9)
    # Mean distance from the unit square to the half one in its middle, by quadrature.
    axis = (np.arange(1000) + 0.5) / 1000 - 0.5
    out = np.maximum(np.abs(axis) - 0.25, 0)
    expected = np.hypot(out[:, None], out[None]).mean()
    assert result["distance_from_truth"] == pytest.approx(expected, rel=0.03)
    assert result["distance"] == pytest.approx(result["distance_from_truth"] / 2)
    assert result["hausdorff"] == pytest.approx(0.25 * 2**0.5, rel=0.03)


def test_concentric_spheres():
    outer, inner = (trimesh.creation.icosphere(4, radius=r) for r in (0.4, 0.35))
    reference = MeshReference(np.array(inner.vertices), np.array(inner.faces))
    result = evaluate(surface(np.array(outer.vertices), np.array(outer.faces)), reference, 5000)
    assert result["distance"] == pytest.approx(0.05, rel=0.01)


def test_same_seed_same_numbers():
    reference = MeshReference(*square(0.0))
    tilted = surface(square(0.0)[0] * [1, 0.9, 1] + [0, 0, 0.01], square(0.0)[1])
    assert evaluate(tilted, reference, 500, seed=1) == evaluate(tilted, reference, 500, seed=1)
    assert evaluate(tilted, reference, 500, seed=1) != evaluate(tilted, reference, 500, seed=2)


def test_empty_surface_is_infinitely_far():
    nothing = Surface(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    result = evaluate(nothing, MeshReference(*square(0.0)), samples=10)
    assert all(result[name] == float("inf") for name in DISTANCES)
    assert all(result[name] == 0 for name in FRACTIONS)


def test_normal_consistency_is_the_cosine():
    """A square tilted by 60 degrees, seen from either side."""
    corners, faces = square(0.0)
    tilted = corners * [1, 0.5, 1] + [[0, 0, z] for z in 3**0.5 / 2 * corners[:, 1]]
    for triangles in (faces, faces[:, ::-1].copy()):
        result = evaluate(surface(tilted, triangles), MeshReference(corners, faces), 1000)
        assert result["normal_consistency"] == pytest.approx(0.5, rel=1e-6)


def test_f_score_of_a_half():
    """Half of the square is there, and exactly so: all of it is right, half is found."""
    corners, faces = square(0.0)
    half = surface(corners * [1, 0.5, 1] - [0, 0.25, 0], faces)
    result = evaluate(half, MeshReference(corners, faces), 20_000, threshold=1e-4)
    assert result["precision"] == 1
    assert result["recall"] == pytest.approx(0.5, abs=0.02)
    assert result["f_score"] == pytest.approx(2 / 3, abs=0.02)
    assert result["normal_consistency"] == pytest.approx(1)


def test_the_threshold_is_one_per_cent_of_the_longest_side():
    corners, faces = square(0.0, side=3.0)
    for height, found in ((0.0295, 1.0), (0.0305, 0.0)):
        result = evaluate(
            surface(square(height, 3.0)[0], faces), MeshReference(corners, faces), 5000
        )
        assert result["f_score"] == found


def test_all_references_have_normals():
    """A sphere against itself, as mesh, formula and cloud."""
    sphere = trimesh.creation.icosphere(4, radius=0.3)
    vertices, faces = np.array(sphere.vertices), np.array(sphere.faces)
    references = [
        MeshReference(vertices, faces),
        ImplicitReference(lambda x: 2 * (x.norm(dim=1) - 0.3)),
        CloudReference(vertices, vertices / 0.3),
    ]
    for reference in references:
        result = evaluate(surface(vertices, faces), reference, samples=2000)
        assert result["normal_consistency"] > 0.998
        assert result["f_score"] == 1
