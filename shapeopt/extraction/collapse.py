"""Cells without extent are taken out of a zero set.

Where folds coincide a vertex is decided several times, and polygons of no width lie between its
copies. That is consistent, and of no use: so edges that are no longer than rounding are contracted.

      a---------b                         A polygon that is left with two corners goes, and its two
      |    S    |     -->     a-----b     edges become one. So every edge keeps two polygons, and a
      a'--------b'                        closed surface stays closed.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.rebuilding import Loops, select
from shapeopt.extraction.tolerances import SHORTEST_EDGE
from shapeopt.mesh.components import connected
from shapeopt.mesh.polygons import edges_of_corners, next_corner
from shapeopt.mesh.ragged import offsets_of, owners_of


def without_extent(
    found: ZeroSet,
    quality: Callable[[Int64[Tensor, "n"]], Float[Tensor, "n"]],
    *,
    compiled: bool = False,
) -> ZeroSet:
    """The zero set without edges and polygons of no extent.

    Args:
        found: with positions in a box of size 1.
        quality: of some vertices, given by number. Of those that fall together the best one stays.
        compiled: look for such edges by the compiled implementation, on a CPU.
    """
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.polygons_compiled import has_short_edge

        if not has_short_edge(found.vertices.numpy(), found.edges.numpy(), SHORTEST_EDGE):
            return found
    is_short = ~has_extent(found)
    if not bool(is_short.any()):
        return found
    stays = _representatives(found, is_short, quality)
    if found.vertices.shape[1] == 2:
        return select(found, stays[found.edges], torch.nonzero(~is_short).flatten())
    return _rebuild(found, stays)


def has_extent(found: ZeroSet) -> Bool[Tensor, "e"]:
    """Which edges are longer than rounding; in 2D these are what :func:`without_extent` keeps."""
    start, end = found.vertices[found.edges].unbind(1)
    return (end - start).square().sum(dim=1) >= SHORTEST_EDGE**2


def has_copies(vertices: Float[Tensor, "v d"], *, compiled: bool = False) -> bool:
    """Whether two vertices lie in one point, up to rounding, in a box of size 1.

    Along a direction that is in no special position they are neighbours.
    """
    direction = torch.arange(2, 2 + vertices.shape[1], device=vertices.device).to(vertices).sqrt()
    along = vertices @ direction
    if compiled:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.polygons_compiled import has_near_neighbours
        from shapeopt.sorting import argsort

        share = (along - along.min()) / (along.max() - along.min()).clamp(min=SHORTEST_EDGE)
        # All of int64, but for the ends, which float64 has no numbers for.
        order = argsort(((2 * share - 1) * (2.0**63 - 2.0**10)).long().numpy())
        return has_near_neighbours(vertices.numpy(), order, SHORTEST_EDGE)
    apart = vertices[torch.argsort(along)].diff(dim=0)
    return bool((apart.square().sum(dim=1) < SHORTEST_EDGE**2).any())


def _representatives(
    found: ZeroSet,
    is_short: Bool[Tensor, "e"],
    quality: Callable[[Int64[Tensor, "n"]], Float[Tensor, "n"]],
) -> Int64[Tensor, "v"]:
    """For each vertex the one that stands for all that it is joined to by short edges."""
    group = connected(found.num_vertices, found.edges[is_short])
    joined = torch.unique(found.edges[is_short])
    worth = quality(joined)
    best = worth.new_full((found.num_vertices,), -1.0)
    best.scatter_reduce_(0, group[joined], worth, "amax")
    winners = joined[worth == best[group[joined]]]
    # Of several equally good ones that of the least key, in whatever order they were found.
    by_key = torch.argsort(found.signs.vertex_keys)
    rank = torch.argsort(by_key)
    least = torch.full_like(rank, found.num_vertices)
    least.scatter_reduce_(0, group[winners], rank[winners], "amin")
    stays = torch.arange(found.num_vertices, device=group.device)
    stays[joined] = by_key[least[group[joined]]]
    return stays


def _rebuild(found: ZeroSet, stays: Int64[Tensor, "v"]) -> ZeroSet:
    """The zero set of polygons after each vertex was replaced by the one that stands for it."""
    corners = stays[found.face_vertices]
    edges = edges_of_corners(found.face_vertices, found.face_offsets, found.edges)
    is_side = corners != corners[next_corner(found.face_offsets)]
    owner = owners_of(found.face_offsets)
    sizes = torch.bincount(owner[is_side], minlength=found.num_faces)
    every = torch.arange(found.num_faces, device=corners.device)
    loops = Loops(every, offsets_of(sizes), corners[is_side], edges[is_side])
    loops = _split_where_pinched(loops)

    sizes = loops.offsets.diff()
    pair = loops.offsets[:-1][sizes == 2]
    same = torch.stack([loops.edges[pair], loops.edges[pair + 1]], dim=1)
    edge_class = connected(found.num_edges, same)
    stay = (sizes > 2).repeat_interleave(sizes)
    kept, place = torch.unique(edge_class[loops.edges[stay]], return_inverse=True)
    kept = _at_the_box(found, edge_class)[kept]
    faces = torch.nonzero(sizes > 2).flatten()
    offsets = offsets_of(sizes[faces])
    return select(
        found,
        stays[found.edges],
        kept,
        Loops(loops.faces[faces], offsets, loops.corners[stay], place),
    )


def _at_the_box(found: ZeroSet, edge_class: Int64[Tensor, "e"]) -> Int64[Tensor, "e"]:
    """For each class of edges that became one, named by its first, one at the box if there is."""
    stands = torch.arange(found.num_edges, device=edge_class.device)
    planes = found.signs.edge_zeros >= found.signs.constraints.num_neurons
    at_box = torch.nonzero(planes.any(dim=1)).flatten()
    stands[edge_class[at_box]] = at_box
    return stands


def _split_where_pinched(loops: Loops) -> Loops:
    """Loops without a repeated corner: one that comes back to a corner is cut there."""
    owner = owners_of(loops.offsets)
    width = int(loops.corners.max()) + 1 if len(loops.corners) else 1
    names, counts = torch.unique(owner * width + loops.corners, return_counts=True)
    pinched = torch.unique(names[counts > 1] // width)
    if len(pinched) == 0:
        return loops
    whole = torch.ones(len(loops.faces), dtype=torch.bool, device=owner.device)
    whole[pinched] = False
    faces, sizes = [loops.faces[whole]], [loops.offsets.diff()[whole]]
    corners, edges = [loops.corners[whole[owner]]], [loops.edges[whole[owner]]]
    bounds = loops.offsets.tolist()
    for face in pinched.tolist():
        part = slice(bounds[face], bounds[face + 1])
        sides = zip(loops.corners[part].tolist(), loops.edges[part].tolist(), strict=True)
        for loop in _simple_loops(list(sides)):
            found = owner.new_tensor(loop)
            faces.append(loops.faces[face : face + 1])
            sizes.append(owner.new_tensor([len(loop)]))
            corners.append(found[:, 0])
            edges.append(found[:, 1])
    return Loops(
        torch.cat(faces), offsets_of(torch.cat(sizes)), torch.cat(corners), torch.cat(edges)
    )


def _simple_loops(sides: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Cuts a closed walk of (corner, edge from there on) into loops without a repeated corner."""
    walk: list[tuple[int, int]] = []
    for side in sides:
        before = [corner for corner, _ in walk]
        if side[0] in before:
            at = before.index(side[0])
            yield walk[at:]
            del walk[at:]
        walk.append(side)
    yield walk
