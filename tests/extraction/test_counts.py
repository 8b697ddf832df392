"""Numbers of cells of trained networks, on which all algorithms agree."""

import json
from typing import Any

import pytest
import torch

import shapeopt
from shapeopt import Subdivision, Tracing
from tests.brute_force import brute_force_counts
from tests.conftest import REFERENCE
from tests.sample_networks import TRAINED, load_network

KNOWN = json.loads((TRAINED / "counts.json").read_text())
TINY = ["disc_2d_2x5", "ball_3d_2x5"]


def surface_counts(surface: shapeopt.PolyhedralSurface) -> dict[str, Any]:
    return {
        "surface_vertices": surface.num_vertices,
        "surface_edges": surface.num_edges,
        "surface_faces": surface.num_faces,
        "surface_euler_characteristic": surface.euler_characteristic,
        "surface_is_closed": surface.is_closed,
    }


def extractors(name: str) -> list[shapeopt.Extractor]:
    """All there are for the network. Tracing in 2D is not compiled."""
    backends = ("plain", "compiled")
    traced = backends if "3d" in name else backends[:1]
    return [Subdivision(backend=b) for b in backends] + [Tracing(backend=b) for b in traced]


@pytest.mark.parametrize("backend", ["plain", "compiled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", KNOWN)
def test_the_whole_complex(name, dtype, backend):
    network = load_network(TRAINED / f"{name}.npz")
    with torch.no_grad():
        whole = shapeopt.extract_complex(network, dtype=dtype, backend=backend)
    assert whole.vertices.dtype == dtype
    assert list(whole.num_cells) == KNOWN[name]["num_cells"]
    assert sum((-1) ** k * number for k, number in enumerate(whole.num_cells)) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "extractor"), [(name, extractor) for name in KNOWN for extractor in extractors(name)]
)
def test_the_surface(name, extractor, dtype):
    network = load_network(TRAINED / f"{name}.npz")
    with torch.no_grad():
        surface = shapeopt.extract_surface(network, extractor=extractor, dtype=dtype)
    assert surface.vertices.dtype == dtype
    assert KNOWN[name].items() >= surface_counts(surface).items()


@pytest.mark.parametrize("name", TINY)
def test_brute_force(name):
    found = brute_force_counts(load_network(TRAINED / f"{name}.npz"), -0.5, 0.5)
    known = KNOWN[name]
    cells = known["num_cells"]
    assert (found.vertices, found.edges, found.regions) == (cells[0], cells[1], cells[-1])
    assert found.surface_vertices == known["surface_vertices"]
    assert found.surface_edges == known["surface_edges"]
    # In the plane f = 0 crosses a region in an edge, and there are no polygons.
    crossings = known["surface_faces" if "3d" in name else "surface_edges"]
    assert found.surface_faces == crossings


@pytest.mark.parametrize("name", ["bunny2d_4x32", "bunny2d_2x100", "bunny_3x16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_networks(reference_network, name, dtype):
    network = reference_network(name)
    expected = json.loads((REFERENCE / "counts.json").read_text())[name]
    with torch.no_grad():
        whole = shapeopt.extract_complex(network, dtype=dtype)
        surface = shapeopt.extract_surface(network, dtype=dtype)
    assert whole.num_cells[:2] == (expected["vertices"], expected["edges"])
    assert sum((-1) ** k * number for k, number in enumerate(whole.num_cells)) == 1
    assert surface.num_vertices == expected["zero_set_vertices"]
    if "zero_set_edges" in expected:
        assert surface.num_edges == expected["zero_set_edges"]
        assert surface.num_faces == expected["zero_set_faces"]
        assert surface.euler_characteristic == expected["zero_set_euler"]
