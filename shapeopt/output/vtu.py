"""Write all cells of a complex as a VTK file, for ParaView and other programs that cut volumes.

Not through meshio: it cannot put regions (polyhedra) beside cells of other dimensions.
"""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shapeopt.complex.cells import Cells
from shapeopt.complex.polyhedral_complex import PolyhedralComplex
from shapeopt.errors import InputError
from shapeopt.mesh.polygons import order_corners
from shapeopt.networks.affine import evaluate
from shapeopt.output.files import write_whole

LINE, POLYGON, POLYHEDRON = 3, 7, 42
"""VTK's numbers for kinds of cells."""

TYPE_NAMES = {"float64": "Float64", "int64": "Int64", "uint8": "UInt8"}


class _Block(NamedTuple):
    """The cells of one dimension: their corners one after the other, and how many each has.

    `faces` is what VTK calls the face stream of a polyhedron: its number of polygons, then each
    polygon's number of corners and its corners.
    """

    kind: int
    dimension: int
    corners: Int[np.ndarray, " n"]
    sizes: Int[np.ndarray, " c"]
    on_zero: Int[np.ndarray, " c"]
    faces: list[Int[np.ndarray, " k"]] | None = None


@torch.no_grad()
def write_vtu(
    whole: PolyhedralComplex,
    path: str | os.PathLike[str],
    move: Callable[[Float[Tensor, "v d"]], Tensor] = lambda points: points,
) -> Path:
    """Write edges, polygons and regions of a complex in 2D or 3D to a VTU file.

    Each cell has its `dimension`, and `on_zero`, 1 if the (last) output is 0 on it; each vertex has
    the values of the network, `f`.

    Args:
        whole: in 2D or 3D.
        path: where to write. The file appears whole or not at all.
        move: takes positions in the box to those of the file.

    Returns:
        The path written.

    Raises:
        InputError: for a complex of another dimension.
        OSError: the file cannot be written.
    """
    dimension = whole.skeleton.constraints.dimension
    if dimension not in (2, 3):
        raise InputError(f"VTU holds complexes of 2 or 3 dimensions; this one has {dimension}")
    points = np.zeros((len(whole.vertices), 3))
    points[:, :dimension] = move(whole.vertices.detach()).double().cpu().numpy()
    values = evaluate(whole.layers, whole.vertices.detach().to(whole.layers[0].weight.dtype))
    blocks = [_edges(whole), _polygons(whole)]
    if dimension == 3:
        blocks.append(_regions(whole, blocks[1]))
    text = _document(points, values.double().cpu().numpy(), blocks)
    return write_whole(path, text.encode())


def _edges(whole: PolyhedralComplex) -> _Block:
    edges = whole.edges.cpu().numpy()
    on_zero = (whole.skeleton.edge_zeros == whole.skeleton.constraints.output).any(dim=1)
    sizes = np.full(len(edges), 2)
    return _Block(LINE, 1, edges.reshape(-1), sizes, _flags(on_zero))


def _polygons(whole: PolyhedralComplex) -> _Block:
    cells = whole.cells(2)
    corners = order_corners(whole.edges[cells.edges], cells.edge_offsets)
    return _Block(
        POLYGON,
        2,
        corners.cpu().numpy(),
        cells.edge_offsets.diff().cpu().numpy(),
        _flags(_on_zero(whole, cells)),
    )


def _regions(whole: PolyhedralComplex, polygons: _Block) -> _Block:
    cells = whole.cells(3)
    offsets, corners = (part.cpu().numpy() for part in whole.cell_vertices(cells))
    # Per polygon what stands in the face stream of each region beside it.
    starts = np.cumsum(polygons.sizes)[:-1]
    streams = [
        np.concatenate([[len(polygon)], polygon]) for polygon in np.split(polygons.corners, starts)
    ]
    sides: list[list[np.ndarray]] = [[] for _ in range(len(cells))]
    for polygon, region in whole.incidence(2).tolist():
        sides[region].append(streams[polygon])
    faces = [np.concatenate([[len(around)], *around]) for around in sides]
    none = np.zeros(len(cells), np.int64)
    return _Block(POLYHEDRON, 3, corners, np.diff(offsets), none, faces)


def _on_zero(whole: PolyhedralComplex, cells: Cells) -> Tensor:
    return (cells.zeros == whole.skeleton.constraints.output).any(dim=1)


def _flags(is_set: Tensor) -> np.ndarray:
    return is_set.long().cpu().numpy()


def _document(
    points: Float[np.ndarray, "v 3"], values: Float[np.ndarray, "v outputs"], blocks: list[_Block]
) -> str:
    """The XML text, its arrays in base64."""
    sizes = np.concatenate([block.sizes for block in blocks])
    kinds = np.concatenate([np.full(len(block.sizes), block.kind) for block in blocks])
    dimensions = np.concatenate([np.full(len(block.sizes), block.dimension) for block in blocks])
    cells = [
        _array("connectivity", np.concatenate([block.corners for block in blocks])),
        _array("offsets", np.cumsum(sizes)),
        _array("types", kinds.astype(np.uint8)),
    ]
    faces = blocks[-1].faces
    if faces is not None:
        ends = np.cumsum([len(stream) for stream in faces])
        without = np.full(len(sizes) - len(faces), -1)
        cells += [
            _array("faces", np.concatenate(faces)),
            _array("faceoffsets", np.concatenate([without, ends])),
        ]
    parts = {
        "Points": [_array("points", points)],
        "PointData": [_array("f", values)],
        "Cells": cells,
        "CellData": [
            _array("dimension", dimensions),
            _array("on_zero", np.concatenate([block.on_zero for block in blocks])),
        ],
    }
    body = "".join(f"<{name}>\n{''.join(arrays)}</{name}>\n" for name, arrays in parts.items())
    return (
        '<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" version="1.0" '
        'byte_order="LittleEndian" header_type="UInt64">\n<UnstructuredGrid>\n'
        f'<Piece NumberOfPoints="{len(points)}" NumberOfCells="{len(sizes)}">\n{body}</Piece>\n'
        "</UnstructuredGrid>\n</VTKFile>\n"
    )


def _array(name: str, values: np.ndarray) -> str:
    if values.dtype != np.uint8:
        values = values.astype("<f8" if values.dtype.kind == "f" else "<i8")
    data = values.tobytes()
    packed = base64.b64encode(np.array([len(data)], "<u8").tobytes() + data).decode()
    columns = values.shape[1] if values.ndim == 2 else 1
    return (
        f'<DataArray type="{TYPE_NAMES[values.dtype.name]}" Name="{name}" '
        f'NumberOfComponents="{columns}" format="binary">{packed}</DataArray>\n'
    )
