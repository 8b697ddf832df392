"""Which way round a polygon runs: decided by its region, never by the shape of a sliver.

Seen from f > 0 a polygon has its inside to the left of every edge. On an edge on the fold of a
neuron n, the inside is where n keeps the sign it has in the region, so with m = +-grad n pointing
inside and g = grad f the edge must run along m x g:

                  m                  g points at the reader
                  |
        u --------+-------> v        v - u is along m x g

A polygon that is not thin is told by its vector area, for less. Of a thin one the longest edge is
taken: its direction is certain, however narrow the polygon is. If polygons then disagree, those
that are not thin settle it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.complex.differentiate import active_gradients
from shapeopt.complex.signs import sign_vectors
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.tolerances import CERTAIN_ASPECT, CERTAIN_LENGTH
from shapeopt.mesh.polygons import next_corner, reversed_corners, vector_areas
from shapeopt.mesh.ragged import owners_of, positions_of
from shapeopt.mesh.safe_norm import safe_norm, unit
from shapeopt.networks.affine import AffineLayer


@torch.no_grad()
def oriented(
    layers: Sequence[AffineLayer],
    found: ZeroSet,
    normals: Float[Tensor, "f 3"],
    *,
    compiled: bool = False,
) -> Int64[Tensor, "m"]:
    """``found.face_vertices`` counter-clockwise seen from the tips of the polygons' normals.

    Args:
        layers: of the network, without graph.
        found: in 3D, with polygons either way round, in a box of size 1.
        normals: gradient of f in each region, or the normal of the box plane; unit length.
        compiled: by the compiled implementation, on a CPU.
    """
    is_flipped, thin = _by_area(found, normals, compiled)
    if len(thin):
        edges = _longest_edges(found, thin)
        along = _runs_along(layers, found, normals, thin, edges)
        is_flipped[thin] = along != _runs_from_first(found, thin, edges)
    return _with_reversed(found, is_flipped, compiled)


@torch.no_grad()
def settled_by_neighbours(
    found: ZeroSet, normals: Float[Tensor, "f 3"], *, compiled: bool = False
) -> Int64[Tensor, "m"]:
    """``found.face_vertices`` with thin polygons the other way round where they run through the
    longer part of their border in the direction of neighbours that are not thin.

    Where f is 0 all over a region, folds lie on each other. Of edges that were contracted to one,
    the fold that is kept may then be on another side of a thin polygon.

    Args:
        found: with polygons that mostly run the right way round.
        normals, compiled: as of :func:`oriented`.
    """
    _, thin = _by_area(found, normals, compiled)
    # The -1 for no polygon stands for the last entry, which is none.
    is_thin = torch.zeros(found.num_faces + 1, dtype=torch.bool, device=thin.device)
    is_thin[thin] = True
    edge, side = torch.nonzero(is_thin[found.edge_faces], as_tuple=True)
    face, other = found.edge_faces[edge, side], found.edge_faces[edge, 1 - side]
    tells = (other >= 0) & ~is_thin[other]
    edge, face, other = edge[tells], face[tells], other[tells]
    start, end = found.vertices[found.edges[edge]].unbind(1)
    is_same_way = _runs_from_first(found, face, edge) == _runs_from_first(found, other, edge)
    lengths = torch.where(is_same_way, 1, -1) * safe_norm(end - start)
    same_way = lengths.new_zeros(found.num_faces).index_add(0, face, lengths)
    return _with_reversed(found, same_way > 0, compiled)


def _with_reversed(
    found: ZeroSet, is_flipped: Bool[Tensor, "f"], compiled: bool
) -> Int64[Tensor, "m"]:
    """The corners, with some polygons the other way round."""
    polygons = found.face_vertices, found.face_offsets
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.polygons_compiled import with_reversed

        return torch.from_numpy(with_reversed(*(part.numpy() for part in (*polygons, is_flipped))))
    of_corners = is_flipped.repeat_interleave(found.face_offsets.diff())
    return torch.where(of_corners, reversed_corners(*polygons), found.face_vertices)


def _by_area(
    found: ZeroSet, normals: Float[Tensor, "f 3"], compiled: bool
) -> tuple[Bool[Tensor, "f"], Int64[Tensor, "n"]]:
    """Which polygons run the wrong way round by their vector areas, and those that are too thin to
    tell."""
    polygons = found.face_vertices, found.face_offsets
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.polygons_compiled import by_area

        arrays = (part.contiguous().numpy() for part in (found.vertices, *polygons, normals))
        is_flipped, thin = by_area(*arrays, CERTAIN_ASPECT, CERTAIN_LENGTH)
        return torch.from_numpy(is_flipped), torch.from_numpy(thin)
    areas = (vector_areas(found.vertices, *polygons) * normals).sum(dim=1)
    sides = found.vertices[found.face_vertices]
    lengths = safe_norm(sides[next_corner(found.face_offsets, len(sides))] - sides)
    owner = owners_of(found.face_offsets, len(sides))
    longest = torch.zeros_like(areas).scatter_reduce(0, owner, lengths, "amax")
    is_certain = (areas.abs() > CERTAIN_ASPECT * longest.square()) & (longest > CERTAIN_LENGTH)
    return areas < 0, torch.nonzero(~is_certain).flatten()


def _longest_edges(found: ZeroSet, faces: Int64[Tensor, "n"]) -> Int64[Tensor, "n"]:
    """The longest edge of each of the polygons; of several such any one."""
    # The -1 for no polygon stands for the last entry, which is none.
    is_chosen = torch.zeros(found.num_faces + 1, dtype=torch.bool, device=faces.device)
    is_chosen[faces] = True
    edge, side = torch.nonzero(is_chosen[found.edge_faces], as_tuple=True)
    face = found.edge_faces[edge, side]
    start, end = found.vertices[found.edges[edge]].unbind(1)
    lengths = safe_norm(end - start)
    longest = lengths.new_zeros(found.num_faces).scatter_reduce(0, face, lengths, "amax")
    is_longest = lengths == longest[face]
    edges = torch.zeros_like(found.face_offsets)
    edges[face[is_longest]] = edge[is_longest]
    return edges[faces]


def _runs_along(
    layers: Sequence[AffineLayer],
    found: ZeroSet,
    normals: Float[Tensor, "f 3"],
    faces: Int64[Tensor, "n"],
    edges: Int64[Tensor, "n"],
) -> Bool[Tensor, "n"]:
    """Whether the polygons should run through the edges from their first end to their second."""
    signs, constraints = found.signs, found.signs.constraints
    own = torch.where(
        found.face_planes >= 0, found.face_planes + constraints.num_neurons, constraints.output
    )[faces]
    zeros = signs.edge_zeros[edges].long()
    other = torch.where(zeros[:, 0] == own, zeros[:, 1], zeros[:, 0])[:, None]
    plus_bits = signs.face_plus_bits[faces]
    slope = active_gradients(layers, constraints, other, plus_bits)[:, 0]
    inside = sign_vectors(plus_bits, other[:, :0], constraints).gather(1, other)
    is_upper_plane = (other >= constraints.num_neurons) & (
        (other - constraints.num_neurons) % 2 == 1
    )
    inward = unit(torch.where(is_upper_plane, -1, inside).to(slope.dtype) * slope)
    start, end = found.vertices[found.edges[edges]].unbind(1)
    way = torch.linalg.cross(inward, normals[faces].to(slope.dtype), dim=1)
    return ((end - start) * way).sum(dim=1) > 0


def _runs_from_first(
    found: ZeroSet, faces: Int64[Tensor, "n"], edges: Int64[Tensor, "n"]
) -> Bool[Tensor, "n"]:
    """Whether the polygons run through their edges from the edge's first end to its second."""
    offsets, places = positions_of(found.face_offsets, faces)
    corners, owner = found.face_vertices[places], owners_of(offsets)
    first, second = found.edges[edges].unbind(1)
    following = torch.arange(1, len(corners) + 1, device=corners.device)
    following[offsets[1:] - 1] = offsets[:-1]
    is_here = (corners == first[owner]) & (corners[following] == second[owner])
    runs = torch.zeros(len(faces), dtype=torch.bool, device=corners.device)
    runs[owner[is_here]] = True
    return runs
