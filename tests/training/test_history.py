"""The surfaces between the first and the last of a shape phase."""

import pytest
import torch
from omegaconf import OmegaConf

import shapeopt
from shapeopt.data import Normalisation, PointCloud
from shapeopt.losses import Distance
from shapeopt.training import history
from shapeopt.training.batches import BatchSource
from shapeopt.training.history import surfaces_between
from shapeopt.training.loop import Training

UNITS = Normalisation(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), 0.5)
CONFIG = OmegaConf.create(
    {
        "model": {"_target_": "shapeopt.sdf_network", "width": 16, "depth": 3},
        "extractor": {"_target_": "shapeopt.Subdivision"},
        "surface": {"bounds": [-0.5, 0.5], "dtype": "float64"},
    }
)


@pytest.fixture
def training() -> Training:
    """Steps at which the ball is smaller and smaller; at step 8 it is gone."""
    network = shapeopt.sdf_network(16, 3)
    states = {}
    for step, shift in {4: 0.0, 5: 0.02, 6: 0.04, 8: 10.0, 9: 0.06, 10: 0.08}.items():
        states[step] = {name: value.clone() for name, value in network.state_dict().items()}
        states[step][list(states[step])[-1]] += shift
    normals = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    cloud = PointCloud(0.3 * normals, normals, UNITS)
    job = Training(network, cloud, [Distance(1.0)], BatchSource(cloud, 50, 10))
    job.history, job.step = states, 10
    return job


def test_they_are_in_units_of_the_file_and_those_that_are_gone_are_left_out(training):
    found = surfaces_between(training, CONFIG, 10)
    assert list(found) == [4, 5, 6, 9]
    volumes = [float(surface.volume()) for surface in found.values()]
    assert volumes == sorted(volumes, reverse=True)
    assert (found[4].vertices.mean(dim=0) - UNITS.center).abs().max() < 0.5
    whole = shapeopt.extract_surface(training.network, dtype=torch.float64)
    assert volumes[0] == pytest.approx(float(whole.volume().detach()) * 8)


@pytest.mark.parametrize(
    ("polygons", "steps"), [(30_000, [5]), (50_000, [6]), (70_000, []), (20_000, [4, 6, 9])]
)
def test_of_large_ones_there_are_fewer(training, polygons, steps):
    assert history.MOST_POLYGONS == 60_000
    assert list(surfaces_between(training, CONFIG, polygons)) == steps
