"""A box in blocks gives the mesh of the box in one piece."""

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt.mesh.certificate import certify
from tests.sample_networks import octahedron, random_mlp


def same_mesh(one: shapeopt.PolyhedralSurface, two: shapeopt.PolyhedralSurface) -> None:
    """Equal keys and positions of vertices, edges between the same ones, as many polygons."""
    keys, order = torch.sort(one.signs.vertex_keys)
    others, other_order = torch.sort(two.signs.vertex_keys)
    assert torch.equal(keys, others)
    assert torch.allclose(one.vertices[order], two.vertices[other_order], rtol=0, atol=1e-12)
    ends = [
        torch.unique(mesh.signs.vertex_keys[mesh.edges].sort(dim=1).values, dim=0)
        for mesh in (one, two)
    ]
    assert torch.equal(*ends)
    assert one.num_faces == two.num_faces
    if one.num_faces:
        assert float(one.area()) == pytest.approx(float(two.area()), rel=1e-12)


def leaving_the_box(seed: int) -> nn.Sequential:
    """A network whose surface leaves the box."""
    network = random_mlp(3, 12, 10, 1, seed=seed)
    with torch.no_grad():
        points = torch.rand(1000, 3, dtype=torch.float64) - 0.5
        network[-1].bias -= network(points).median()
    return network


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cap", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_blocks_give_the_same_mesh(count, cap, seed):
    network = leaving_the_box(seed)
    with torch.no_grad():
        whole = shapeopt.extract_surface(network, cap=cap)
        blocks = shapeopt.extract_surface(network, cap=cap, blocks=count)
    same_mesh(whole, blocks)
    assert certify(blocks).summary() == certify(whole).summary()


def test_a_polyline_in_blocks():
    network = shapeopt.sdf_network(12, 2, input_dim=2).double()
    with torch.no_grad():
        same_mesh(shapeopt.extract_surface(network), shapeopt.extract_surface(network, blocks=3))


def test_gradients_come_through():
    network = leaving_the_box(0)
    gradients = []
    for count in (1, 2):
        network.zero_grad()
        shapeopt.extract_surface(network, blocks=count).area().backward()
        gradients.append(torch.cat([part.grad.flatten() for part in network.parameters()]))
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


def test_symmetric_networks_have_no_fold_on_a_seam():
    surface = shapeopt.extract_surface(octahedron(), blocks=2)
    assert (surface.num_vertices, surface.num_edges, surface.num_faces) == (6, 12, 8)


def test_a_box_that_is_inside_as_a_whole_has_no_surface():
    network = random_mlp(3, 4, 1)
    network[-1].bias.data.fill_(-100.0)
    for count in (1, 2):
        with pytest.raises(shapeopt.EmptySurfaceError, match="inside"):
            shapeopt.extract_surface(network, cap=True, blocks=count)


@pytest.mark.slow
def test_several_processes_give_the_same_bits():
    network = leaving_the_box(1)
    with torch.no_grad():
        one, two = (
            shapeopt.extract_surface(network, blocks=2, processes=count) for count in (1, 2)
        )
    assert torch.equal(one.vertices, two.vertices)
    assert torch.equal(one.face_vertices, two.face_vertices)


@pytest.mark.parametrize(
    "options", [{"blocks": 0}, {"processes": 0}, {"processes": 2}, {"blocks": 2, "processes": -1}]
)
def test_wrong_numbers_are_refused(options):
    with pytest.raises(shapeopt.InputError, match="Subdivision"):
        shapeopt.Subdivision(**options)
