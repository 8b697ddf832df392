import numpy as np
import torch

import shapeopt
from shapeopt.networks.reading import affine_layers
from shapeopt.output.export import write_mesh
from tests.output.meshes import cube, empty
from tests.solids import polygons_of


def test_the_polygons_are_in_it(tmp_path):
    surface = cube()
    with np.load(write_mesh(surface, tmp_path / "a.npz")) as file:
        arrays = dict(file)
    assert "vertex_signs" not in arrays  # it is of no network
    polygons = np.split(arrays["face_vertices"], arrays["face_offsets"][1:-1])
    assert [polygon.tolist() for polygon in polygons] == polygons_of(surface)
    read = shapeopt.PolygonMesh(**{name: torch.from_numpy(a) for name, a in arrays.items()})
    assert read.is_closed
    assert read.volume().item() == 8
    assert arrays["vertices"].dtype == np.float64


def test_the_signs_are_those_of_the_neurons(tmp_path):
    """At each vertex and in the middle of each polygon the neurons are evaluated again."""
    network = shapeopt.sdf_network(width=6, depth=2).double()
    with torch.no_grad():
        surface = shapeopt.extract_surface(network)
        write_mesh(surface, tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz") as file:
            arrays = dict(file)
        polygons = np.split(arrays["face_vertices"], arrays["face_offsets"][1:-1])
        middles = np.stack([arrays["vertices"][polygon].mean(axis=0) for polygon in polygons])
        at_vertices = neurons(network, arrays["vertices"])
        at_middles = neurons(network, middles)[:, :-1]
    signs = arrays["vertex_signs"][:, : at_vertices.shape[1]]
    assert (np.abs(at_vertices[signs == 0]) < 1e-12).all()
    assert (np.sign(at_vertices)[signs != 0] == signs[signs != 0]).all()
    # Three planes meet in each vertex: two of neurons or the box, and the surface itself.
    assert ((arrays["vertex_signs"] == 0).sum(axis=1) == 3).all()
    assert (signs[:, -1] == 0).all()
    assert arrays["face_signs"].shape == (surface.num_faces, 12)
    assert (np.sign(at_middles) == arrays["face_signs"]).all()


def neurons(network: torch.nn.Module, points: np.ndarray) -> np.ndarray:
    """All pre-activations, layer by layer."""
    values, found = torch.from_numpy(points), []
    for layer in affine_layers(network, 3):
        values = layer.values(values)
        found.append(values.clone())
        values = values.relu()
    return torch.cat(found, dim=1).numpy()


def test_without_polygons(tmp_path):
    with np.load(write_mesh(empty(), tmp_path / "a.npz")) as file:
        assert file["face_offsets"].tolist() == [0]
