"""Every public call on a stand-in for a GPU: nothing mixes devices, and the result is the CPU's."""

import copy

import pytest
import torch
from torch import nn

import shapeopt
from shapeopt import PolyhedralSurface
from shapeopt.extraction.tracing.plain import ZeroCellSolver
from shapeopt.mesh.certificate import certify
from shapeopt.networks import EncodedNetwork, sdf_network
from shapeopt.simplify import remove_idle_neurons
from tests.phantom import DeviceError, phantom_cuda
from tests.sample_networks import TRAINED, load_network, octahedron, random_mlp


def centred(dimension: int, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    network = random_mlp(dimension, 10, 10, 1, seed=1)
    with torch.no_grad():
        points = torch.rand(999, dimension, dtype=torch.float64) - 0.5
        network[-1].bias -= network(points).median()
    return network.to(dtype)


def on_cuda(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).to("cuda")


def assert_same(found: PolyhedralSurface, expected: PolyhedralSurface) -> None:
    assert found.vertices.device.type == "cuda"
    keys, order = found.signs.vertex_keys.cpu().sort()
    expected_keys, expected_order = expected.signs.vertex_keys.sort()
    assert torch.equal(keys, expected_keys)
    there, here = found.vertices.detach().cpu()[order], expected.vertices.detach()[expected_order]
    assert torch.allclose(there, here, rtol=0, atol=1e-6)


def test_the_stand_in_refuses_what_a_device_would():
    with phantom_cuda():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        for wrong in (lambda: there + here, lambda: there.numpy(), lambda: here[there.long()]):
            with pytest.raises((DeviceError, TypeError)):
                wrong()
        assert (there + 1).device.type == "cuda"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("dimension", "settings"),
    [
        (2, {}),
        (2, {"method": "trace"}),
        (3, {}),
        (3, {"cap": True}),
        (3, {"method": "trace"}),
        (3, {"method": "trace", "complete": True}),
    ],
)
def test_surfaces(dimension, settings, dtype):
    network = centred(dimension, dtype)
    expected = shapeopt.extract_surface(network, **settings)
    expected.edge_lengths().sum().backward()
    with phantom_cuda():
        there = on_cuda(network)
        found = shapeopt.extract_surface(there, **settings)
        found.edge_lengths().sum().backward()
        assert_same(found, expected)
        for part, other in zip(there.parameters(), network.parameters(), strict=True):
            assert torch.allclose(part.grad.cpu(), other.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.thorough
def test_an_encoded_network():
    torch.manual_seed(0)
    network = EncodedNetwork((2, 4), 2, 12, 2, spread=0.02)
    warm = shapeopt.Tracing(complete=True)
    with phantom_cuda():
        there = on_cuda(network)
        for _ in range(2):  # cold, then warm
            found = shapeopt.extract_surface(there, extractor=warm)
            expected = shapeopt.extract_surface(network)
            assert_same(found, expected)
            with torch.no_grad():
                for one in (network, there):
                    one.mlp[-1].bias += 1e-4
        for surface in (found, expected):
            surface.area().backward()
        for part, other in zip(there.parameters(), network.parameters(), strict=True):
            assert torch.allclose(part.grad.cpu(), other.grad, rtol=1e-3, atol=1e-4)


def test_seeds_given_on_the_host():
    network = centred(3)
    seeds = shapeopt.extract_surface(network).vertices.detach()
    with phantom_cuda():
        found = shapeopt.extract_surface(on_cuda(network), method="trace", seeds=seeds)
        assert_same(found, shapeopt.extract_surface(network))


def test_folds_that_coincide():
    with phantom_cuda():
        surface = shapeopt.extract_surface(on_cuda(octahedron(0.3)))
        assert surface.num_faces == 8
        assert certify(surface).is_clean


def test_the_whole_complex():
    network = centred(3)
    expected = shapeopt.extract_complex(network)
    with phantom_cuda():
        whole = shapeopt.extract_complex(on_cuda(network))
        assert whole.num_cells == expected.num_cells
        assert whole.region_maps()[0].shape == expected.region_maps()[0].shape
        assert len(whole.incidence(1)) == len(expected.incidence(1))


def test_removing_neurons():
    network = centred(3)
    with phantom_cuda():
        assert remove_idle_neurons(on_cuda(network)).widths == remove_idle_neurons(network).widths


@pytest.mark.thorough
def test_a_neuron_costs_so_many_launches_and_no_more():
    """Each costs some microseconds of a real device: a change that adds many should be noticed."""
    network = load_network(TRAINED / "torus_3d_3x16.npz")
    so_far = []
    with phantom_cuda() as counts, torch.no_grad():
        there = on_cuda(network)
        shapeopt.extract_complex(there)
        counts.reset()
        shapeopt.extract_complex(
            there, progress=lambda *_: so_far.append([counts.launches, counts.syncs])
        )
        launches, syncs = torch.tensor(so_far).diff(dim=0).median(dim=0).values.tolist()
        assert 30 < launches <= 60
        assert syncs <= 2
        assert counts.launches <= 60 * 49
        assert counts.syncs <= 2.2 * 49


@pytest.mark.thorough
def test_a_front_and_a_step_cost_so_many_launches_and_no_more(monkeypatch):
    torch.manual_seed(0)
    network = sdf_network(32, 3).double()
    extractor = shapeopt.Tracing()
    solve, so_far = ZeroCellSolver.solve, []

    def solve_and_count(*given):
        so_far.append([counts.launches, counts.syncs])
        return solve(*given)

    monkeypatch.setattr(ZeroCellSolver, "solve", solve_and_count)
    with phantom_cuda() as counts:
        there = on_cuda(network)
        surface = shapeopt.extract_surface(there, extractor=extractor)
        surface.edge_lengths().sum().backward()
        launches, syncs = torch.tensor(so_far).diff(dim=0).median(dim=0).values.tolist()
        assert 100 < launches <= 210
        assert syncs <= 2
        with torch.no_grad():
            for part in there.parameters():
                part -= 1e-5 * part.grad.sign()
        counts.reset()
        so_far.clear()
        surface = shapeopt.extract_surface(there, extractor=extractor)
        (surface.edge_lengths().sum() + surface.dihedral_angles()[0].sum()).backward()
        assert len(so_far) == 3
        assert 600 < counts.launches <= 1200
        assert counts.syncs <= 25
