import pytest
import torch

from shapeopt.data import PointCloud
from shapeopt.data.normalisation import Normalisation
from shapeopt.training.summary import SURFACE, curves_as_shown, peak_memory, units_note


@pytest.fixture
def cloud():
    """Points on a box of sides 1, 2 and 4."""
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 4]])
    normals = torch.nn.functional.normalize(torch.ones(4, 3), dim=1)
    return PointCloud(points, normals, Normalisation.identity())


def test_curves_have_the_names_and_units_of_the_table(cloud):
    row = {
        "step": 7,
        "loss/edge_length": 5.0,
        "surface/polygons": 12,
        "surface/edge_length_total": 8.0,
        "surface/edge_length_mean": 0.4,
        "surface/area": 32.0,
        "surface/bending_mean_degrees": None,
    }
    (shown,) = curves_as_shown([row], cloud)
    assert shown == {
        "step": 7,
        "loss/edge_length": 5.0,
        "surface/polygons": 12,
        "surface/edge length, total (side)": 2.0,
        "surface/edge length, mean (1e-3 side)": pytest.approx(100),
        "surface/area (side²)": 2.0,
        "surface/bending at edges, mean (degrees)": None,
    }
    assert "4 long" in units_note(cloud)


def test_every_length_is_divided_by_as_many_sides_as_its_unit_says():
    powers = {"side²": 2, "side": 1}
    for quantity in SURFACE.values():
        said = next((p for unit, p in powers.items() if f"{unit})" in quantity.label), 0)
        assert quantity.power == said
        assert quantity.factor == (1e3 if "1e-3" in quantity.label else 1)


def test_peak_memory_is_that_of_this_process():
    pytest.importorskip("resource")
    assert 2**20 < peak_memory() < 2**45
