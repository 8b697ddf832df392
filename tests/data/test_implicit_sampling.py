import numpy as np
import torch

from shapeopt.data import sample_implicit


def ellipsoid(points: torch.Tensor) -> torch.Tensor:
    return (points / torch.tensor([0.2, 0.2, 0.4], dtype=points.dtype)).norm(dim=1) * 0.2 - 0.2


def test_on_the_surface_deterministic_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    points = sample_implicit(ellipsoid, 5000, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert points.shape == (5000, 3)
    assert ellipsoid(points).abs().max() < 1e-12
    assert torch.equal(points, sample_implicit(ellipsoid, 5000, seed=1))
    assert not torch.equal(points, sample_implicit(ellipsoid, 5000, seed=2))


def test_uniform_in_area():
    """The fraction of the samples in a band of z is its fraction of the area, by quadrature."""
    z = sample_implicit(ellipsoid, 40_000, seed=0)[:, 2].numpy()
    angle = np.linspace(0, np.pi, 100_001)
    density = 0.2 * np.sin(angle) * np.hypot(0.2 * np.cos(angle), 0.4 * np.sin(angle))
    area = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    edges = np.linspace(-0.4, 0.4, 11)
    expected = np.diff(np.interp(edges, -0.4 * np.cos(angle), area / area[-1]))
    share = np.histogram(z, edges)[0] / len(z)
    # Four standard deviations of a fraction of 0.1 out of 40,000.
    np.testing.assert_allclose(share, expected, atol=4 * np.sqrt(0.1 * 0.9 / 40_000))
