"""Levels, outputs and classes of networks with several outputs."""

import pytest
import torch
from torch import nn

import shapeopt


def classifier(dimension: int, seed: int = 0) -> nn.Sequential:
    """Three classes that all occur in the box from -2 to 2."""
    torch.manual_seed(seed)
    sizes = nn.Linear(dimension, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    network = nn.Sequential(*sizes).double().requires_grad_(False)
    points = 4 * torch.rand(2000, dimension, dtype=torch.float64) - 2
    network[-1].weight *= 6
    network[-1].bias -= network(points).median(dim=0).values
    return network


@pytest.mark.parametrize("extractor", [shapeopt.Subdivision(), shapeopt.Tracing()])
def test_a_level_of_one_output(extractor):
    network = classifier(3)
    surface = shapeopt.extract_surface(network, (-2, 2), output=1, level=0.1, extractor=extractor)
    assert float((network(surface.vertices)[:, 1] - 0.1).abs().max()) < 1e-12
    alone = nn.Sequential(*network[:-1], nn.Linear(8, 1)).double().requires_grad_(False)
    alone[-1].weight.copy_(network[-1].weight[1:2])
    alone[-1].bias.copy_(network[-1].bias[1:2] - 0.1)
    same = shapeopt.extract_surface(alone, (-2, 2), extractor=extractor)
    assert (surface.num_vertices, surface.num_faces) == (same.num_vertices, same.num_faces)


def test_an_output_must_exist_and_be_chosen():
    with pytest.raises(shapeopt.InputError, match="output="):
        shapeopt.extract_surface(classifier(3), (-2, 2))
    with pytest.raises(shapeopt.InputError, match="0 to 2"):
        shapeopt.extract_surface(classifier(3), (-2, 2), output=3)


@pytest.mark.parametrize("seed", range(3))
def test_interfaces_are_where_two_classes_tie_above_all_others(seed):
    network = classifier(3, seed)
    whole = shapeopt.extract_complex(network, (-2, 2), boundaries=True)
    found = whole.interfaces()
    assert len(found.labels.unique(dim=0)) == 3
    for facet, (one, two) in enumerate(found.labels.tolist()):
        corners = found.corners[found.offsets[facet] : found.offsets[facet + 1]]
        scores = network(found.vertices[corners])
        torch.testing.assert_close(scores[:, one], scores[:, two], atol=1e-12, rtol=0)
        assert bool((scores.amax(dim=1) <= scores[:, one] + 1e-12).all())


@pytest.mark.parametrize("seed", range(3))
def test_each_class_is_enclosed_up_to_the_box(seed):
    network = classifier(3, seed)
    found = shapeopt.extract_complex(network, (-2, 2), boundaries=True).interfaces()
    total = 0
    for label in range(3):
        mesh = found.around(label)
        total += mesh.num_faces
        border = mesh.vertices[mesh.edges[(mesh.edge_faces < 0).any(dim=1)]]
        assert bool(((border.abs() - 2).abs() < 1e-12).all(dim=1).any(dim=1).all())
        # Outward: a little along the normal lies another class.
        sizes = mesh.face_offsets.diff().tolist()
        polygons = mesh.vertices[mesh.face_vertices].split(sizes)
        middle = torch.stack([corners.mean(dim=0) for corners in polygons])
        large = mesh.face_areas() > 1e-4
        out = network(middle + 1e-7 * mesh.face_normals).argmax(dim=1)[large]
        back = network(middle - 1e-7 * mesh.face_normals).argmax(dim=1)[large]
        assert bool((out != label).all())
        assert bool((back == label).all())
    assert total == 2 * len(found.labels)


def test_interfaces_in_2d_and_region_labels():
    network = classifier(2)
    whole = shapeopt.extract_complex(network, (-2, 2), boundaries=True)
    regions = whole.cells(2)
    offsets, corner = whole.cell_vertices(regions)
    labels = whole.region_labels(regions).tolist()
    for region, label in enumerate(labels):
        middle = whole.vertices[corner[offsets[region] : offsets[region + 1]]].mean(dim=0)
        assert int(network(middle[None]).argmax()) == label
    found = whole.interfaces()
    scores = network(found.vertices[found.corners]).topk(2, dim=1).values
    torch.testing.assert_close(scores[:, 0], scores[:, 1], atol=1e-12, rtol=0)
    # Ends are at the box or where all three meet; or two segments meet.
    ends = torch.bincount(found.corners)
    loose = found.vertices[ends == 1]
    assert bool(((loose.abs() - 2).abs() < 1e-12).any(dim=1).all())


def test_boundaries_need_classes():
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with pytest.raises(shapeopt.InputError, match="at least 2 outputs"):
        shapeopt.extract_complex(network, boundaries=True)
