"""The two implementations that make a zero set of a skeleton, and what finish asks of it."""

import pytest
import torch

import shapeopt
from shapeopt.extraction.condition import condition
from shapeopt.extraction.dissolve import without_flat_folds
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.finish import finish
from shapeopt.extraction.polygons_compiled import has_flat_fold, repeats_a_run
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tolerances import FLATTEST_FOLD
from shapeopt.mesh.polygons import runs_repeat
from shapeopt.networks.affine import without_graph


@pytest.mark.parametrize("seed", range(4))
def test_both_make_the_same_polygons_and_the_same_mesh(seed):
    torch.manual_seed(seed)
    layers, box = prepare(shapeopt.sdf_network(8 + 4 * seed, 2), (-0.5, 0.5), torch.float64)
    unit = condition(layers, box)
    constant = without_graph(unit.layers)
    skeleton = subdivide(constant, unit.box, surface_only=True)
    plain, compiled = (
        zero_set(constant, unit.box, skeleton, compiled=which) for which in (False, True)
    )
    for name in ("vertices", "edges", "edge_faces", "face_offsets", "face_vertices", "face_planes"):
        assert torch.equal(getattr(plain, name), getattr(compiled, name)), name
    for name, part in vars(plain.signs).items():
        assert part is compiled.signs.constraints or torch.equal(
            part, getattr(compiled.signs, name)
        ), name
    meshes = [
        finish(constant, unit.box, plain, compiled=which, all_folds=True) for which in (False, True)
    ]
    assert torch.equal(meshes[0].face_vertices, meshes[1].face_vertices)
    assert torch.allclose(meshes[0].face_normals, meshes[1].face_normals, rtol=0, atol=1e-14)


def test_a_run_that_comes_twice():
    """Two triangles at an edge, wound alike and against each other."""
    offsets = torch.tensor([0, 3, 6])
    for corners, answer in (([0, 1, 2, 1, 0, 3], False), ([0, 1, 2, 3, 0, 1], True)):
        given = torch.tensor(corners)
        assert bool(runs_repeat(given, offsets, 4)) is answer
        assert bool(repeats_a_run(given.numpy(), offsets.numpy(), 4)) is answer


def test_a_fold_that_does_not_bend_f():
    faces = torch.tensor([[0, -1], [0, 1], [1, 2]])
    flat = torch.tensor([[1.0, 2, 3], [1, 2, 3 + 2.0**-40], [1, 2, 4]], dtype=torch.float64)
    bent = torch.tensor([[1.0, 2, 3], [1, 2, 3 + 2.0**-30], [1, 2, 4]], dtype=torch.float64)
    assert has_flat_fold(faces.numpy(), flat.numpy(), FLATTEST_FOLD)
    assert not has_flat_fold(faces.numpy(), bent.numpy(), FLATTEST_FOLD)


def test_nothing_is_dissolved_where_all_folds_bend(surface_cells):
    found, gradients = surface_cells
    assert without_flat_folds(found, gradients, compiled=True) is None
    assert without_flat_folds(found, gradients) is None


@pytest.fixture
def surface_cells():
    torch.manual_seed(0)
    layers, box = prepare(shapeopt.sdf_network(8, 2), (-0.5, 0.5), torch.float64)
    unit = condition(layers, box)
    constant = without_graph(unit.layers)
    found = zero_set(constant, unit.box, subdivide(constant, unit.box, surface_only=True))
    mesh = finish(constant, unit.box, found)
    return found, mesh.face_normals
