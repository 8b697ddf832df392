"""A box cut into blocks, extracted one by one: the zero set of all, in the memory of one.

+-----+-----+            A seam cuts polygons and edges, and what it cuts keeps its
|   __|__   |            sign-vector on both sides. So pieces of equal keys are one cell,
|  /  |  \\  |            and nothing has to be matched along the seam: the edges that lie
|  \\__|__/  |    -->     on no seam, with their ends that lie on none, make the same zero
|     |     |            set as the box in one piece.
+-----+-----+
"""

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from shapeopt.complex.box import Box
from shapeopt.complex.signs import zobrist_keys
from shapeopt.complex.surface import SurfaceSigns
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.errors import ExtractionError
from shapeopt.extraction.extractor import Backend, is_compiled
from shapeopt.extraction.no_zero import NoZero, no_zero_among
from shapeopt.extraction.progress import Inconsistent, Progress
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.mesh.polygons import order_corners, pair_faces
from shapeopt.mesh.ragged import offsets_of
from shapeopt.networks.affine import AffineLayer

OFF_CENTRE = 0.0187
"""Seams lie that part of a block beside the middle, where folds of symmetric networks lie."""


@dataclass(frozen=True)
class Block:
    """A part of a box.

    Attributes:
        box: the part.
        seams: which of its planes are inside the whole, counted from 0 as in a box.
    """

    box: Box
    seams: tuple[int, ...]


def blocks_of(box: Box, count: int) -> list[Block]:
    """The box cut into ``count`` blocks along each side."""
    places = torch.arange(count + 1, dtype=torch.float64)
    places[1:-1] += OFF_CENTRE
    share = (places / count).to(box.lower)[:, None]
    corners = torch.lerp(box.lower, box.upper, share)
    corners[0], corners[-1] = box.lower, box.upper
    axes = torch.arange(box.dimension)
    blocks = []
    for place in product(range(count), repeat=box.dimension):
        at = torch.tensor(place)
        seams = [2 * axis for axis in range(box.dimension) if place[axis] > 0]
        seams += [2 * axis + 1 for axis in range(box.dimension) if place[axis] < count - 1]
        blocks.append(Block(Box(corners[at, axes], corners[at + 1, axes]), tuple(seams)))
    return blocks


def zero_set_by_blocks(
    layers: Sequence[AffineLayer],
    box: Box,
    count: int,
    processes: int,
    *,
    cap: bool,
    max_bytes: int | None,
    progress: Progress | None,
    backend: Backend,
    ulps: int,
) -> ZeroSet:
    """The zero set in the box, from ``count`` blocks along each side.

    Args:
        layers: without graph.
        box: the whole domain.
        count: blocks along a side.
        processes: that work on blocks at a time; each holds one.
        cap, max_bytes, progress, backend, ulps: of each block, see :func:`subdivide`.

    Raises:
        NoZero: if there is none in any block.
        Inconsistent: if the blocks do not fit together: rounding decided a sign in two ways.
    """
    extract = partial(
        _extract,
        list(layers),
        cap=cap,
        max_bytes=max_bytes,
        progress=progress,
        backend=backend,
        ulps=ulps,
    )
    blocks = blocks_of(box, count)
    pieces, ranges = [], []
    for block, found in zip(blocks, _each(extract, blocks, processes), strict=True):
        if isinstance(found, ZeroSet):
            pieces.append(_pieces(found, block.seams))
        else:
            ranges.append(found)
    if not pieces:
        raise NoZero(min(low for low, _ in ranges), max(high for _, high in ranges))
    welded = _welded(pieces)
    if cap and not bool((welded.signs.edge_zeros == welded.signs.constraints.output).any()):
        raise no_zero_among(layers, box, welded.vertices)
    return welded


def _extract(
    layers: Sequence[AffineLayer],
    block: Block,
    *,
    cap: bool,
    max_bytes: int | None,
    progress: Progress | None,
    backend: Backend,
    ulps: int,
) -> ZeroSet | tuple[float, float]:
    """The zero set in a block; the range of f there if there is none."""
    skeleton = subdivide(
        layers,
        block.box,
        surface_only=True,
        cap=cap,
        max_bytes=max_bytes,
        progress=progress,
        backend=backend,
        ulps=ulps,
    )
    compiled = is_compiled(backend, block.box.lower.device)
    try:
        return zero_set(layers, block.box, skeleton, cap=cap, compiled=compiled, is_block=True)
    except NoZero as none:
        return none.low, none.high


def _each(extract: partial, blocks: Sequence[Block], processes: int) -> Iterator:
    if processes == 1:
        yield from map(extract, blocks)
        return
    # Tensors as plain bytes: torch would pass them on as open files, and run out of those.
    work = [pickle.dumps(partial(extract, block)) for block in blocks]
    threads = max(1, torch.get_num_threads() // processes)
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (threads,)) as pool:
        yield from map(pickle.loads, pool.map(_run, work))


def _run(work: bytes) -> bytes:
    return pickle.dumps(pickle.loads(work)())


@dataclass(frozen=True)
class _Pieces:
    """What of a block's zero set lies on no seam.

    Attributes:
        cells: of the block.
        vertices: numbers of those on no seam.
        vertex_keys: of each of them.
        edges: numbers of those on no seam.
        edge_keys: of each of them.
        face_keys: of all polygons.
        is_face: which polygons lie on no seam.
    """

    cells: ZeroSet
    vertices: Int64[Tensor, "v"]
    vertex_keys: Int64[Tensor, "v"]
    edges: Int64[Tensor, "e"]
    edge_keys: Int64[Tensor, "e"]
    face_keys: Int64[Tensor, "f"]
    is_face: Bool[Tensor, "f"]


def _pieces(found: ZeroSet, seams: Sequence[int]) -> _Pieces:
    signs, constraints = found.signs, found.signs.constraints
    keys = zobrist_keys(constraints, found.vertices.device)
    planes = torch.tensor(seams, device=found.vertices.device, dtype=torch.int64)
    on_seam = partial(_touches, planes=planes + constraints.num_neurons)
    vertices = torch.nonzero(~on_seam(signs.vertex_zeros)).flatten()
    edges = torch.nonzero(~on_seam(signs.edge_zeros)).flatten()
    one, two = signs.vertex_plus_bits[found.edges[edges]].unbind(1)
    planes_of_faces = found.face_planes + constraints.num_neurons
    own = torch.where(found.face_planes >= 0, planes_of_faces, constraints.output)[:, None]
    return _Pieces(
        found,
        vertices,
        signs.vertex_keys[vertices],
        edges,
        keys.of_cells(one | two, signs.edge_zeros[edges], constraints),
        keys.of_cells(signs.face_plus_bits, own, constraints),
        ~torch.isin(found.face_planes, planes),
    )


def _touches(zeros: Int[Tensor, "n k"], planes: Int64[Tensor, "s"]) -> Bool[Tensor, "n"]:
    return torch.isin(zeros.long(), planes).any(dim=1)


def _welded(pieces: Sequence[_Pieces]) -> ZeroSet:
    """One zero set of all pieces, its cells sorted by key."""
    first = pieces[0].cells
    vertices = _Cells([part.vertex_keys for part in pieces])
    edges = _Cells([part.edge_keys for part in pieces])
    faces = _Cells([part.face_keys[part.is_face] for part in pieces])
    ends = _ends_of_edges(pieces, vertices, edges)
    edge_of, face_of = _incidences(pieces, edges, faces)
    sizes = torch.bincount(face_of, minlength=len(faces))
    offsets = offsets_of(sizes)
    try:
        corners = order_corners(ends[edge_of], offsets)
    except ExtractionError as error:
        raise _do_not_fit() from error

    def of_vertices(name: str) -> Tensor:
        source = [part.cells if name == "vertices" else part.cells.signs for part in pieces]
        chosen = [part.vertices for part in pieces]
        rows = [getattr(s, name)[c] for s, c in zip(source, chosen, strict=True)]
        return torch.cat(rows)[vertices.one]

    zeros = [part.cells.signs.edge_zeros[part.edges] for part in pieces]
    bits = [part.cells.signs.face_plus_bits[part.is_face] for part in pieces]
    planes = [part.cells.face_planes[part.is_face] for part in pieces]
    return ZeroSet(
        of_vertices("vertices"),
        ends,
        pair_faces(edge_of, face_of, len(edges)),
        offsets,
        corners,
        SurfaceSigns(
            first.signs.constraints,
            of_vertices("vertex_zeros"),
            of_vertices("vertex_plus_bits"),
            torch.cat(zeros)[edges.one],
            torch.cat(bits)[faces.one],
            vertices.keys,
        ),
        torch.cat(planes)[faces.one],
        first.has_caps,
        first.is_oriented,
    )


class _Cells:
    """The distinct cells among the pieces in all blocks.

    Attributes:
        keys: of each cell, sorted.
        one: for each cell the place of one of its pieces, in the order of the blocks.
        of_pieces: for each block, the cell of each piece.
    """

    def __init__(self, keys: Sequence[Int64[Tensor, "_"]]):
        every = torch.cat(list(keys))
        self.keys, cell = torch.unique(every, return_inverse=True)
        place = torch.arange(len(every), device=every.device)
        none = torch.full_like(self.keys, len(every))
        self.one = none.scatter_reduce(0, cell, place, "amin")
        self.of_pieces = cell.split([len(part) for part in keys])

    def __len__(self) -> int:
        return len(self.keys)


def _ends_of_edges(
    pieces: Sequence[_Pieces], vertices: _Cells, edges: _Cells
) -> Int64[Tensor, "e 2"]:
    """The two ends of each edge: those of its pieces that lie on no seam."""
    pairs = []
    for part, vertex, edge in zip(pieces, vertices.of_pieces, edges.of_pieces, strict=True):
        number = torch.full((part.cells.num_vertices,), -1, device=vertex.device)
        number[part.vertices] = vertex
        ends = number[part.cells.edges[part.edges]]
        row, side = torch.nonzero(ends >= 0, as_tuple=True)
        pairs.append(edge[row] * len(vertices) + ends[row, side])
    found = torch.unique(torch.cat(pairs))
    owner = torch.div(found, len(vertices), rounding_mode="floor")
    two_each = torch.arange(len(edges), device=owner.device).repeat_interleave(2)
    if not torch.equal(owner, two_each):
        raise _do_not_fit()
    return (found % len(vertices)).view(-1, 2)


def _incidences(
    pieces: Sequence[_Pieces], edges: _Cells, faces: _Cells
) -> tuple[Int64[Tensor, "m"], Int64[Tensor, "m"]]:
    """Edges and polygons at each other, polygon by polygon."""
    pairs = []
    for part, edge, face in zip(pieces, edges.of_pieces, faces.of_pieces, strict=True):
        number = torch.full((part.cells.num_faces + 1,), -1, device=edge.device)
        number[:-1][part.is_face] = face
        # The -1 for no polygon stands for the last entry, which is none.
        beside = number[part.cells.edge_faces[part.edges]]
        row, side = torch.nonzero(beside >= 0, as_tuple=True)
        pairs.append(beside[row, side] * len(edges) + edge[row])
    found = torch.unique(torch.cat(pairs))
    return found % len(edges), torch.div(found, len(edges), rounding_mode="floor")


def _do_not_fit() -> Inconsistent:
    return Inconsistent(
        "the blocks of the box do not fit together: a corner of the surface lies on a seam, or "
        "rounding decided a sign in two ways. Another number of blocks moves the seams"
    )
