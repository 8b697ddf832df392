"""Only folds that matter: a fold that does not bend f does not cut its surface.

A neuron that f does not depend on in a region (it feeds neurons that are off there, or loses in a
maximum) leaves f's affine map what it is across its fold. The surface is that of the coarsest
complex on which f is affine, so such folds are dissolved, and then the vertices that are left
between the same two polygons:

        +------+------+              +------+------+
        |      :      |              |             |       : a fold that does not bend f
        |  P   :  Q   |     -->      |    P + Q    |
        |      :      |              |             |       the vertices at its ends go, since two
        +------+------+              +-------------+       planes meet in a straight line

What is left together is one polygon with one border. Where that would have a hole, or touch itself,
the polygons stay as they are.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.rebuilding import Loops, select
from shapeopt.extraction.tolerances import FLATTEST_FOLD, LEAST_TURN
from shapeopt.mesh.components import connected
from shapeopt.mesh.polygons import edges_of_corners, next_corner
from shapeopt.mesh.ragged import offsets_of, owners_of
from shapeopt.mesh.safe_norm import unit


class Dissolved(NamedTuple):
    """What is left.

    Attributes:
        found: the zero set.
        faces: for each of its polygons, one of those that it was made of.
        is_joined: whether it was made of several.
    """

    found: ZeroSet
    faces: Int64[Tensor, "f"]
    is_joined: Bool[Tensor, "f"]


def without_flat_folds(
    found: ZeroSet, gradients: Float[Tensor, "n d"], *, compiled: bool = False
) -> Dissolved | None:
    """The zero set without the folds that do not bend f; None if there are none.

    Args:
        found: oriented, if in 3D.
        gradients: of f in the region of each polygon; in 2D of each edge.
        compiled: ask the compiled implementation, on a CPU, whether there are any.
    """
    if found.vertices.shape[1] == 2:
        return _polyline(found, gradients)
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.polygons_compiled import has_flat_fold

        arrays = found.edge_faces, gradients.contiguous()
        if not has_flat_fold(*(array.numpy() for array in arrays), FLATTEST_FOLD):
            return None
    # The -1 for no polygon stands for the last one.
    is_flat = _is_same(gradients[found.edge_faces]) & (found.edge_faces.amin(dim=1) >= 0)
    if found.has_caps:
        is_flat &= (found.face_planes[found.edge_faces] < 0).all(dim=1)
    if not bool(is_flat.any()):
        return None
    group = connected(found.num_faces, found.edge_faces[is_flat])
    sides = _sides(found, group)
    failed = _without_one_border(sides, found.num_vertices)
    if len(failed):
        apart = torch.isin(group, failed)
        group = torch.where(apart, torch.arange(len(group), device=group.device), group)
        sides = _sides(found, group)
    return _joined(found, group, sides, _straight(found, group, sides, is_flat))


def _is_same(gradients: Float[Tensor, "n 2 d"]) -> Bool[Tensor, "n"]:
    """Whether two gradients differ by rounding alone, in parts of the first."""
    difference = gradients.diff(dim=1).squeeze(1)
    return difference.abs().amax(dim=1) <= FLATTEST_FOLD * gradients[:, 0].abs().amax(dim=1)


class _Sides(NamedTuple):
    """The directed edges along the borders of groups of polygons.

    Attributes:
        groups: the group to the left of each.
        starts, ends: vertices.
        edges: numbers.
    """

    groups: Int64[Tensor, "s"]
    starts: Int64[Tensor, "s"]
    ends: Int64[Tensor, "s"]
    edges: Int64[Tensor, "s"]


def _sides(found: ZeroSet, group: Int64[Tensor, "f"]) -> _Sides:
    one, two = found.edge_faces.clamp(min=0).unbind(1)
    at_border = (found.edge_faces < 0).any(dim=1) | (group[one] != group[two])
    corners = found.face_vertices
    edges = edges_of_corners(corners, found.face_offsets, found.edges)
    kept = torch.nonzero(at_border[edges]).flatten()
    following = corners[next_corner(found.face_offsets)]
    owner = group[owners_of(found.face_offsets)]
    return _Sides(owner[kept], corners[kept], following[kept], edges[kept])


def _following(sides: _Sides, num_vertices: int) -> Int64[Tensor, "s"]:
    """The side of the same group that starts where each one ends, where that is unique."""
    names, order = torch.sort(sides.groups * num_vertices + sides.starts)
    return order[torch.searchsorted(names, sides.groups * num_vertices + sides.ends)]


def _without_one_border(sides: _Sides, num_vertices: int) -> Int64[Tensor, "k"]:
    """The groups whose sides are not one loop without a repeated vertex."""
    names, counts = torch.unique(sides.groups * num_vertices + sides.starts, return_counts=True)
    pinched = names[counts > 1] // num_vertices
    every = torch.arange(len(sides.starts), device=names.device)
    loop = connected(len(every), torch.stack([every, _following(sides, num_vertices)], dim=1))
    loops, counts = torch.unique(sides.groups[torch.unique(loop)], return_counts=True)
    return torch.unique(torch.cat([pinched, loops[counts > 1]]))


def _straight(
    found: ZeroSet, group: Int64[Tensor, "f"], sides: _Sides, is_flat: Bool[Tensor, "e"]
) -> Bool[Tensor, "v"]:
    """The vertices where two edges meet that lie on one line, and nothing else does."""
    edges = torch.unique(sides.edges)
    # What lies on both sides: groups, or a box plane in the place of a missing one.
    plane = found.signs.edge_zeros.long().amax(dim=1)
    beside = torch.where(found.edge_faces < 0, -1 - plane[:, None], group[found.edge_faces])
    beside = beside.sort(dim=1).values
    vertex, order = torch.sort(found.edges[edges].flatten(), stable=True)
    edge = edges[order // 2]
    count = torch.bincount(vertex, minlength=found.num_vertices)
    first = torch.nonzero(count[vertex] == 2).flatten()[::2]
    one, two = edge[first], edge[first + 1]
    is_line = (beside[one] == beside[two]).all(dim=1) & ~is_flat[one] & ~is_flat[two]
    is_line &= _turn(found, vertex[first], one, two) < LEAST_TURN
    straight = torch.zeros(found.num_vertices, dtype=torch.bool, device=vertex.device)
    straight[vertex[first[is_line]]] = True
    return straight


def _turn(
    found: ZeroSet, vertex: Int64[Tensor, "n"], one: Int64[Tensor, "n"], two: Int64[Tensor, "n"]
) -> Float[Tensor, "n"]:
    """By how much the path along two edges turns at their common vertex: 0 to 2.

    The two sides of a sheet of no thickness meet all around it, which is no straight line.
    """
    at = found.vertices[vertex]
    arms = [found.vertices[found.edges[edges].sum(dim=1) - vertex] - at for edges in (one, two)]
    return (unit(arms[0]) + unit(arms[1])).norm(dim=1)


def _joined(
    found: ZeroSet, group: Int64[Tensor, "f"], sides: _Sides, straight: Bool[Tensor, "v"]
) -> Dissolved:
    """The zero set of the groups, without the straight vertices."""
    edges, ends = _joined_edges(found, torch.unique(sides.edges), straight)
    faces, sizes = torch.unique(sides.groups, return_counts=True)
    offsets = offsets_of(sizes)
    order = _round_each(sides, offsets, found.num_vertices)
    corners, side_edges = sides.starts[order], sides.edges[order]
    kept = ~straight[corners]
    sizes = torch.zeros_like(faces).index_add_(0, owners_of(offsets), kept.long())
    names, place = torch.unique(edges[side_edges[kept]], return_inverse=True)
    loops = Loops(faces, offsets_of(sizes), corners[kept], place)
    parts = torch.bincount(group, minlength=found.num_faces)[faces]
    return Dissolved(select(found, ends, names, loops), faces, parts > 1)


def _joined_edges(
    found: ZeroSet, edges: Int64[Tensor, "k"], straight: Bool[Tensor, "v"]
) -> tuple[Int64[Tensor, "e"], Int64[Tensor, "e 2"]]:
    """For each edge the first of those that it is one with, and the ends of all of them."""
    ends = found.edges[edges]
    vertex, order = torch.sort(ends.flatten(), stable=True)
    pairs = edges[order // 2][straight[vertex]].view(-1, 2)
    stands = connected(found.num_edges, pairs)
    is_end = ~straight[ends]
    owner = stands[edges][:, None].expand_as(ends)[is_end]
    owner, order = torch.sort(owner, stable=True)
    joined = found.edges.clone()
    joined[owner[::2]] = ends[is_end][order].view(-1, 2)
    return stands, joined


def _round_each(
    sides: _Sides, offsets: Int64[Tensor, "f_plus_1"], num_vertices: int
) -> Int64[Tensor, "s"]:
    """The sides in the order that they follow each other in, group by group."""
    following = _following(sides, num_vertices)
    at = torch.argsort(sides.groups, stable=True)[offsets[:-1]]
    order = torch.empty_like(following)
    sizes = offsets.diff()
    for step in range(int(sizes.max())):
        going = torch.nonzero(sizes > step).flatten()
        order[offsets[going] + step] = at[going]
        at[going] = following[at[going]]
    return order


def _polyline(found: ZeroSet, gradients: Float[Tensor, "e 2"]) -> Dissolved | None:
    """In 2D: without the vertices where f does not bend."""
    vertex, order = torch.sort(found.edges.flatten(), stable=True)
    edge = order // 2
    count = torch.bincount(vertex, minlength=found.num_vertices)
    first = torch.nonzero(count[vertex] == 2).flatten()[::2]
    is_same = _is_same(gradients[torch.stack([edge[first], edge[first + 1]], dim=1)])
    if not bool(is_same.any()):
        return None
    straight = torch.zeros(found.num_vertices, dtype=torch.bool, device=vertex.device)
    straight[vertex[first[is_same]]] = True
    every = torch.arange(found.num_edges, device=vertex.device)
    edges, ends = _joined_edges(found, every, straight)
    none = every[:0]
    return Dissolved(select(found, ends, torch.unique(edges)), none, none.bool())
