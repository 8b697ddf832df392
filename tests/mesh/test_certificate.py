"""What is certified of meshes whose truth is known."""

import pytest
import torch
import trimesh

from shapeopt import InputError, PolygonMesh
from shapeopt.mesh.certificate import certify
from tests.solids import BOX_FACES, ball_solid, box_solid, polygons_of


def mesh_of(found: trimesh.Trimesh) -> PolygonMesh:
    return PolygonMesh.from_polygons(torch.tensor(found.vertices), found.faces.tolist())


def test_a_box():
    certificate = certify(box_solid().detach())
    (part,) = certificate.components
    assert certificate.is_clean
    assert (part.vertices, part.edges, part.polygons, part.genus) == (8, 12, 6, 0)
    assert part.area == pytest.approx(6)
    assert part.volume == pytest.approx(1)
    assert certificate.summary() == ("closed, manifold, winding consistent, 1 component, genus 0")


def test_sizes_are_in_the_units_of_the_file():
    """Two units of a file to one of the mesh; what is counted stays."""
    whole = certify(box_solid().detach())
    opened = certify(PolygonMesh.from_polygons(box_solid().vertices.detach(), BOX_FACES[1:]))
    (part,), (open_part,) = (found.as_dict(2.0)["components"] for found in (whole, opened))
    assert (part["area"], part["volume"]) == (pytest.approx(24), pytest.approx(8))
    assert (open_part["area"], open_part["volume"]) == (pytest.approx(20), None)
    assert part["polygons"] == 6


def test_a_torus_has_a_handle():
    (part,) = certify(mesh_of(trimesh.creation.torus(1.0, 0.3))).components
    assert part.genus == 1


def test_a_shell_in_a_ball_is_a_component_of_negative_volume():
    outer, inner = ball_solid(1.0, 2).detach(), ball_solid(0.5, 2).detach()
    shift = outer.num_vertices
    polygons = polygons_of(outer)
    polygons += [[v + shift for v in face[::-1]] for face in polygons_of(inner)]
    both = PolygonMesh.from_polygons(torch.cat([outer.vertices, inner.vertices]), polygons)
    one, two = certify(both).components
    assert one.volume == pytest.approx(-8 * two.volume, rel=1e-6)
    assert two.volume < 0


def test_an_open_box():
    certificate = certify(PolygonMesh.from_polygons(box_solid().vertices.detach(), BOX_FACES[1:]))
    assert not certificate.closed
    assert certificate.manifold
    assert certificate.components[0].genus is None
    assert certificate.summary().startswith("open, manifold")


def test_a_box_with_one_side_turned():
    faces = [BOX_FACES[0][::-1], *BOX_FACES[1:]]
    mesh = PolygonMesh.from_polygons(box_solid().vertices.detach(), faces)
    assert not certify(mesh).wound_consistently


def test_two_boxes_that_share_a_corner_are_no_manifold():
    """The far corner (1, 1, 1) of the one is the corner (0, 0, 0) of the other."""
    vertices = box_solid().vertices.detach()
    far = int(vertices.sum(dim=1).argmax())
    near = int(vertices.sum(dim=1).argmin())
    moved = [far if v == near else v + 8 for v in range(8)]
    faces = [*BOX_FACES, *([moved[v] for v in face] for face in BOX_FACES)]
    mesh = PolygonMesh.from_polygons(torch.cat([vertices, vertices + vertices[far]]), faces)
    certificate = certify(mesh)
    assert certificate.closed
    assert not certificate.manifold
    assert len(certificate.components) == 2


def test_a_polyline_has_none():
    line = PolygonMesh(
        torch.rand(2, 2),
        torch.tensor([[0, 1]]),
        torch.tensor([[-1, -1]]),
        torch.zeros(1, dtype=torch.int64),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, 2),
    )
    with pytest.raises(InputError, match="polyline"):
        certify(line)
