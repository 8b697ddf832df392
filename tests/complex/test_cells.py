"""Cells of every dimension, how they lie in one another, and the regions' affine maps."""

import pytest
import torch

import shapeopt
from shapeopt import InputError
from tests.sample_networks import random_mlp


@pytest.fixture(params=[2, 3, 4])
def whole(request):
    with torch.no_grad():
        network = random_mlp(request.param, 6, 5, 2, seed=1)
        return shapeopt.extract_complex(network, bounds=(-2, 2)), network


def test_counts_agree_with_the_cells(whole):
    complex_, _ = whole
    assert len(complex_.num_cells) == complex_.vertices.shape[1] + 1
    for dimension, count in enumerate(complex_.num_cells[1:], start=1):
        assert len(complex_.cells(dimension)) == count > 0


def test_a_cell_has_one_zero_less_than_its_facets_and_their_signs(whole):
    complex_, _ = whole
    dimension = complex_.vertices.shape[1]
    for k in range(1, dimension):
        facet, cell = complex_.incidence(k).T
        facets = complex_.cells(k)
        if k == 1:  # edges keep their place in the skeleton
            facets = facets.select(facets.edges.argsort())
        facet_signs = complex_.sign_vectors(facets)[facet]
        cell_signs = complex_.sign_vectors(complex_.cells(k + 1))[cell]
        differs = facet_signs != cell_signs
        assert (differs.sum(dim=1) == 1).all()
        assert (facet_signs[differs] == 0).all()
        assert len(set(zip(facet.tolist(), cell.tolist(), strict=True))) == len(facet)


@pytest.mark.parametrize("whole", [3, 4], indirect=True)
def test_every_cell_of_a_simple_complex_has_a_sphere_as_boundary(whole):
    """Euler: the proper faces of a k-cell have alternating sum 1 - (-1)^k. For k = 3 the vertices
    and edges of the cell come through other functions than its facets do."""
    complex_, _ = whole
    cells = complex_.cells(3)
    offsets, vertices = complex_.cell_vertices(cells)
    num_vertices = offsets.diff()
    num_edges = cells.edge_offsets.diff()
    num_facets = torch.bincount(complex_.incidence(2)[:, 1], minlength=len(cells))
    assert (num_vertices - num_edges + num_facets == 2).all()
    assert vertices.max() < len(complex_.vertices)


def test_edges_join_two_vertices(whole):
    complex_, _ = whole
    assert torch.equal(complex_.incidence(0)[:, 0].view(-1, 2), complex_.edges)


def test_region_maps_are_the_network_at_the_regions_vertices(whole):
    complex_, network = whole
    regions = complex_.cells(complex_.vertices.shape[1])
    weights, bias = complex_.region_maps(regions)
    offsets, vertices = complex_.cell_vertices(regions)
    region = torch.arange(len(regions)).repeat_interleave(offsets.diff())
    points = complex_.vertices[vertices]
    values = (weights[region] @ points[:, :, None])[:, :, 0] + bias[region]
    assert torch.allclose(values, network(points), atol=1e-9)


def test_region_maps_carry_the_gradient():
    network = random_mlp(2, 5, 1)
    complex_ = shapeopt.extract_complex(network, bounds=(-1, 1))
    complex_.region_maps()[0].sum().backward()
    assert network[0].weight.grad.abs().sum() > 0


def test_dimensions_that_do_not_exist(whole):
    complex_, _ = whole
    with pytest.raises(InputError, match="no cells of dimension"):
        complex_.cells(complex_.vertices.shape[1] + 1)
    with pytest.raises(InputError, match="incidence"):
        complex_.incidence(complex_.vertices.shape[1])
