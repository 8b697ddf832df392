"""What a surface's certificate says of it."""

import dataclasses

import pytest
import torch

import shapeopt
from shapeopt.extraction.certificate import certify_surface
from tests.extraction.tracing.comparing import centred_mlp
from tests.sample_networks import octahedron


def test_the_error_is_the_largest_distance_to_f_0():
    network = octahedron(0.3)
    surface = shapeopt.extract_surface(network).detach()
    subdivision = shapeopt.Subdivision()
    assert certify_surface(network, surface, subdivision).largest_error < 1e-15
    vertices = surface.vertices.clone()
    vertices[0] *= 1.01
    vertices[1] *= 1.001
    moved = dataclasses.replace(surface, vertices=vertices)
    # f = |x1| + |x2| + |x3| - 0.3 has a gradient of length sqrt(3).
    found = certify_surface(network, moved, subdivision)
    assert found.largest_error == pytest.approx(0.003 / 3**0.5)
    assert found.as_dict(unit=2.0)["largest_error"] == pytest.approx(0.006 / 3**0.5)
    assert "within 1.7e-03 of f = 0" in found.summary()


@pytest.mark.parametrize(
    ("extractor", "complete"),
    [
        (shapeopt.Subdivision(), True),
        (shapeopt.Tracing(), False),
        (shapeopt.Tracing(complete=True), True),
    ],
)
def test_it_says_whether_a_component_can_be_missing(extractor, complete):
    network = octahedron(0.3)
    with torch.no_grad():
        surface = shapeopt.extract_surface(network, extractor=extractor)
    found = certify_surface(network, surface, extractor)
    assert found.complete == found.as_dict()["complete"] == complete
    assert found.method == type(extractor).__name__
    assert ("may be missing" in found.summary()) == (not complete)


def test_a_complete_search_is_so_until_the_next_step():
    network = centred_mlp(3, 6, 1, seed=0)
    extractor = shapeopt.Tracing(complete=True, search_every=2)
    complete = []
    with torch.no_grad():
        for _ in range(5):
            shapeopt.extract_surface(network, extractor=extractor)
            complete.append(extractor.is_complete)
    assert complete == [True, False, False, True, False]
