from dataclasses import dataclass

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.data import MeshReference
from shapeopt.evaluation import evaluate


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
    assert set(result) == {"distance", "distance_to_truth", "distance_from_truth", "hausdorff"}
    assert all(isinstance(value, float) for value in result.values())
    assert all(value == pytest.approx(0.1, rel=1e-6) for value in result.values())


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
    assert set(result.values()) == {float("inf")}
