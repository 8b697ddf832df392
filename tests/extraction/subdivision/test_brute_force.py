"""Subdivision against brute force on tiny networks, and its limits."""

import numpy as np
import pytest
import torch

import shapeopt
from shapeopt import ExtractionError
from tests.brute_force import brute_force_vertices
from tests.sample_networks import random_mlp

SIZES = {1: [(6,), (4, 3)], 2: [(7,), (4, 3), (3, 2, 2)], 3: [(7,), (4, 3)]}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "sizes", [(d, *hidden, 1) for d, choices in SIZES.items() for hidden in choices]
)
def test_vertices_are_those_that_brute_force_finds(sizes, seed):
    network = random_mlp(*sizes, seed=seed)
    expected = brute_force_vertices(network, -2.0, 2.0)
    with torch.no_grad():
        vertices = shapeopt.extract_complex(network, bounds=(-2, 2)).vertices.numpy()
    assert len(vertices) == len(expected)
    distances = np.abs(vertices[:, None] - expected[None]).max(axis=2)
    assert distances.min(axis=0).max() < 1e-9
    assert distances.min(axis=1).max() < 1e-9


def test_brute_force_knows_a_line_through_a_square():
    network = random_mlp(2, 1)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        network[0].bias.fill_(-0.5)
    vertices = brute_force_vertices(network, 0.0, 1.0)
    expected = {(0, 0), (0, 1), (1, 0), (1, 1), (0, 0.5), (0.5, 0)}
    assert {tuple(vertex) for vertex in vertices.round(12).tolist()} == expected


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_several_outputs_all_cut(dimension):
    network = random_mlp(dimension, 4, 3, seed=1)
    with torch.no_grad():
        vertices = shapeopt.extract_complex(network, bounds=(-2, 2)).vertices
    assert len(vertices) == len(brute_force_vertices(network, -2.0, 2.0))


def test_a_budget_stops_the_extraction_and_says_how_far_it_got():
    network = random_mlp(3, 16, 16, 1)
    with pytest.raises(ExtractionError, match=r"neuron \d+ of layer 1 with [\d,]+ vertices"):
        shapeopt.extract_complex(network, bounds=(-2, 2), max_bytes=400_000)
    shapeopt.extract_complex(network, bounds=(-2, 2), max_bytes=40_000_000)


def test_progress_reports_every_neuron():
    reports = []
    network = random_mlp(2, 5, 4, 1)
    whole = shapeopt.extract_complex(
        network, bounds=(-2, 2), progress=lambda *report: reports.append(report)
    )
    assert [report[:2] for report in reports] == [
        (layer, neuron) for layer, width in enumerate((5, 4, 1)) for neuron in range(width)
    ]
    assert reports[-1][2] == len(whole.vertices)
