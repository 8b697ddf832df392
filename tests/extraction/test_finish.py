"""What is done to cells before they are a surface: contracted, and refused if they make none."""

import dataclasses

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import ExtractionError
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.condition import condition
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.finish import finish
from shapeopt.extraction.subdivision import subdivide
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.networks.affine import without_graph
from tests.extraction.tracing.comparing import centred_mlp


def cells_of(network: nn.Module):
    """Layers, box and the cells of f = 0 there."""
    unit = condition(*prepare(network, (-0.5, 0.5), None))
    layers = without_graph(unit.layers)
    return layers, unit.box, zero_set(layers, unit.box, subdivide(layers, unit.box), cap=False)


def without_a_polygon(found: ZeroSet) -> ZeroSet:
    last = found.edge_faces == found.num_faces - 1
    return dataclasses.replace(
        found,
        edge_faces=found.edge_faces.masked_fill(last, -1),
        face_offsets=found.face_offsets[:-1],
        face_vertices=found.face_vertices[: found.face_offsets[-2]],
        face_planes=found.face_planes[:-1],
        signs=dataclasses.replace(found.signs, face_plus_bits=found.signs.face_plus_bits[:-1]),
    )


def without_a_segment(found: ZeroSet) -> ZeroSet:
    return dataclasses.replace(
        found,
        edges=found.edges[:-1],
        edge_faces=found.edge_faces[:-1],
        signs=dataclasses.replace(found.signs, edge_zeros=found.signs.edge_zeros[:-1]),
    )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("dimension", "broken"), [(3, without_a_polygon), (2, without_a_segment)])
def test_a_surface_that_ends_inside_the_box_is_refused(dimension, broken, compiled):
    layers, box, found = cells_of(centred_mlp(dimension, 10, 8, 1, seed=0))
    assert (found.signs.vertex_zeros >= found.signs.constraints.num_neurons).any()
    finish(layers, box, found, compiled=compiled and dimension == 3)
    with pytest.raises(ExtractionError, match="ends inside the box"):
        finish(layers, box, broken(found), compiled=compiled and dimension == 3)


def test_a_surface_that_is_wound_two_ways_is_refused():
    layers, box, found = cells_of(centred_mlp(3, 10, 8, 1, seed=0))
    surface = finish(layers, box, found, all_folds=True)
    corners, stop = surface.face_vertices.clone(), surface.face_offsets[1]
    corners[:stop] = corners[:stop].flip(0)
    turned = dataclasses.replace(found, face_vertices=corners, is_oriented=True)
    assert turned.num_vertices == surface.num_vertices
    with pytest.raises(ExtractionError, match="same direction"):
        finish(layers, box, turned)


@pytest.mark.parametrize("dimension", [2, 3])
def test_what_touches_the_box_goes_on_to_do_so(dimension):
    """f = y - x / 2 is 0 at y = 1/4 of the box's face x = 1/2, and a fold crosses it 1e-12 before,
    at a right angle, which makes the better vertex."""
    normal = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)[:dimension]
    there = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)[:dimension]
    slope = torch.tensor([-0.5, 1.0, 0.0], dtype=torch.float64)[:dimension]
    network = nn.Sequential(nn.Linear(dimension, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        network[0].weight.copy_(torch.stack([normal, slope, -slope]))
        network[0].bias.copy_(torch.tensor([1e-12, 0.0, 0.0]) - network[0].weight @ there)
        network[0].bias[1:] = 0
        network[2].weight.copy_(torch.tensor([[0.3, 1.0, -1.0]]))
        network[2].bias.zero_()
        surface = shapeopt.extract_surface(network)
    at_end = surface.vertices[:, 0] > 0.4
    assert int(at_end.sum()) == 2 ** (dimension - 2)
    assert (surface.vertices[at_end, 0] == 0.5).all()
    upper = surface.signs.constraints.num_neurons + 1
    assert (surface.signs.vertex_zeros[at_end] == upper).any(dim=1).all()
