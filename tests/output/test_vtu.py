import base64
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from torch import nn

import shapeopt
from shapeopt.errors import InputError
from shapeopt.output.vtu import LINE, POLYGON, POLYHEDRON, write_vtu

DTYPES = {"Float64": "<f8", "Int64": "<i8", "UInt8": "u1"}


def arrays_of(path) -> dict[str, np.ndarray]:
    """The arrays of a VTU file by name, as its documentation says they are stored."""
    root = ElementTree.parse(path).getroot()
    assert root.get("header_type") == "UInt64"
    found = {}
    for array in root.iter("DataArray"):
        data = base64.b64decode(array.text)
        assert int.from_bytes(data[:8], "little") == len(data) - 8
        values = np.frombuffer(data[8:], DTYPES[array.get("type")])
        columns = int(array.get("NumberOfComponents"))
        found[array.get("Name")] = values.reshape(-1, columns) if columns > 1 else values
    piece = next(root.iter("Piece"))
    assert int(piece.get("NumberOfPoints")) == len(found["points"])
    assert int(piece.get("NumberOfCells")) == len(found["types"])
    return found


def streams_of(arrays: dict[str, np.ndarray]) -> list[list[list[int]]]:
    """The polygons of each polyhedron."""
    ends = arrays["faceoffsets"][arrays["types"] == POLYHEDRON]
    polyhedra = []
    for stream in np.split(arrays["faces"], ends[:-1]):
        count, at, polygons = int(stream[0]), 1, []
        for _ in range(count):
            size = int(stream[at])
            polygons.append(stream[at + 1 : at + 1 + size].tolist())
            at += 1 + size
        assert at == len(stream)
        polyhedra.append(polygons)
    return polyhedra


def test_all_cells_of_a_complex_are_in_it(tmp_path):
    network = shapeopt.sdf_network(width=8, depth=2).double()
    with torch.no_grad():
        whole = shapeopt.extract_complex(network)
        area = shapeopt.extract_surface(network).area().item()
    arrays = arrays_of(write_vtu(whole, tmp_path / "a.vtu", lambda x: 2 * x + 1))
    kinds = Counter(arrays["types"].tolist())
    assert (kinds[LINE], kinds[POLYGON], kinds[POLYHEDRON]) == whole.num_cells[1:]
    np.testing.assert_allclose(arrays["points"], 2 * whole.vertices.numpy() + 1)
    np.testing.assert_allclose(arrays["f"], network(whole.vertices)[:, 0].detach(), atol=1e-12)
    cells = np.split(arrays["connectivity"], arrays["offsets"][:-1])
    # Regions fill the box; each polygon inside it is a side of two.
    regions = [cells[i] for i in np.flatnonzero(arrays["dimension"] == 3)]
    volumes = [ConvexHull(arrays["points"][region]).volume for region in regions]
    assert sum(volumes) == pytest.approx(8)
    polyhedra = streams_of(arrays)
    sides = Counter(frozenset(polygon) for around in polyhedra for polygon in around)
    assert len(sides) == kinds[POLYGON]
    assert set(sides.values()) == {1, 2}
    for region, around in zip(regions, polyhedra, strict=True):
        assert set(region.tolist()) == {corner for polygon in around for corner in polygon}
        # Euler's formula, each edge being in two polygons.
        assert len(region) - sum(map(len, around)) / 2 + len(around) == 2
    # The polygons on which f is 0 are the surface.
    zero = [cells[i] for i in np.flatnonzero((arrays["dimension"] == 2) & (arrays["on_zero"] == 1))]
    areas = [polygon_area(arrays["points"][polygon]) for polygon in zero]
    assert sum(areas) == pytest.approx(4 * area)


def polygon_area(points: np.ndarray) -> float:
    crossed = np.cross(points - points[0], np.roll(points, -1, axis=0) - points[0])
    return float(np.linalg.norm(crossed.sum(axis=0)) / 2)


def test_in_two_dimensions(tmp_path):
    network = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        whole = shapeopt.extract_complex(network.double(), bounds=(-1, 1))
    arrays = arrays_of(write_vtu(whole, tmp_path / "a.vtu"))
    assert (arrays["points"][:, 2] == 0).all()
    assert arrays["f"].shape == (len(whole.vertices), 2)
    cells = np.split(arrays["connectivity"], arrays["offsets"][:-1])
    areas = [polygon_area(arrays["points"][c]) for c in cells if len(c) > 2]
    assert len(areas) == whole.num_cells[2]
    assert sum(areas) == pytest.approx(4)


def test_other_dimensions_are_refused(tmp_path):
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    with pytest.raises(InputError, match="2 or 3 dimensions; this one has 4"):
        write_vtu(shapeopt.extract_complex(network), tmp_path / "a.vtu")


def test_vtk_reads_it(tmp_path):
    vtk = pytest.importorskip("vtk")
    with torch.no_grad():
        whole = shapeopt.extract_complex(shapeopt.sdf_network(width=8, depth=2))
    reader = vtk.vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(write_vtu(whole, tmp_path / "a.vtu")))
    reader.Update()
    assert reader.GetOutput().GetNumberOfCells() == sum(whole.num_cells[1:])
