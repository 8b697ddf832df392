"""Corners of polygons in order: from sets of edges to oriented cycles of vertices."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.errors import ExtractionError, InputError


def order_corners(
    ends: Int64[Tensor, "m 2"], offsets: Int64[Tensor, "f_plus_1"]
) -> Int64[Tensor, "m"]:
    """Corners of each polygon in cyclic order, either way round.

    Args:
        ends: the two end vertices of each edge of each polygon, polygon by polygon.
        offsets: polygon i has the rows ``offsets[i]`` to ``offsets[i + 1]``, and as many corners.

    Raises:
        ExtractionError: if the edges of a polygon do not close up.
    """
    sizes = offsets.diff()
    polygon = torch.arange(len(sizes), device=ends.device).repeat_interleave(sizes)
    vertex = ends.flatten()
    corner = polygon.repeat_interleave(2) * (vertex.max() + 1 if len(vertex) else 1) + vertex
    corner, order = torch.sort(corner)
    if not torch.equal(corner[0::2], corner[1::2]) or bool((corner[1:-1:2] == corner[2::2]).any()):
        raise ExtractionError("the edges of a polygon do not close up; please report the network")
    partner = torch.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]

    # From an end of an edge, cross to its other end, then step onto the next edge there.
    next_end = partner.view(-1, 2).flip(1).flatten()
    corners = torch.empty_like(polygon)
    at = 2 * offsets[:-1]
    for step in range(int(sizes.max()) if len(sizes) else 0):
        unfinished = torch.nonzero(sizes > step).flatten()
        corners[offsets[unfinished] + step] = vertex[at[unfinished]]
        at[unfinished] = next_end[at[unfinished]]
    return corners


def orient(
    vertices: Float[Tensor, "v 3"],
    corners: Int64[Tensor, "m"],
    offsets: Int64[Tensor, "f_plus_1"],
    normals: Float[Tensor, "f 3"],
    edge_faces: Int64[Tensor, "e 2"],
    edges: Int64[Tensor, "e 2"],
) -> Int64[Tensor, "m"]:
    """Turns each polygon counter-clockwise as seen from the tip of its normal.

    The vector area decides, the larger ones first; a sliver whose area is rounding follows its
    neighbours, since the two polygons at an edge must run through it in opposite directions.
    """
    area = vector_areas(vertices, corners, offsets)
    aligned = (area * normals).sum(dim=1)
    flipped = aligned < 0
    same_way = _runs_along(corners, offsets, edge_faces, edges)
    interior = (edge_faces >= 0).all(dim=1) & (edge_faces[:, 0] != edge_faces[:, 1])
    one, two = edge_faces[interior].unbind(1)
    must_differ = same_way[interior, 0] == same_way[interior, 1]
    for _ in range(64):
        wrong = (flipped[one] ^ flipped[two]) != must_differ
        if not bool(wrong.any()):
            break
        first_smaller = aligned[one].abs() < aligned[two].abs()
        smaller = torch.where(first_smaller, one, two)[wrong]
        larger = torch.where(first_smaller, two, one)[wrong]
        flipped[smaller] = flipped[larger] ^ must_differ[wrong]
    return torch.where(
        flipped.repeat_interleave(offsets.diff()), _reversed(corners, offsets), corners
    )


def vector_areas(
    vertices: Float[Tensor, "v 3"], corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"]
) -> Float[Tensor, "f 3"]:
    """Half the sum of cross products of consecutive corners: area times unit normal.

    Corners are taken relative to the polygon's first one, which keeps small polygons exact.
    """
    sizes = offsets.diff()
    polygon = torch.arange(len(sizes), device=corners.device).repeat_interleave(sizes)
    relative = vertices[corners] - vertices[corners[offsets[:-1]]][polygon]
    cross = torch.linalg.cross(relative, relative[next_corner(offsets)], dim=1)
    return vertices.new_zeros(len(sizes), 3).index_add(0, polygon, cross) / 2


def next_corner(offsets: Int64[Tensor, "f_plus_1"]) -> Int64[Tensor, "m"]:
    """Position of the following corner of the same polygon."""
    following = torch.arange(1, int(offsets[-1]) + 1, device=offsets.device)
    following[offsets[1:] - 1] = offsets[:-1]
    return following


def _reversed(
    corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"]
) -> Int64[Tensor, "m"]:
    polygon = torch.arange(len(offsets) - 1, device=corners.device)
    polygon = polygon.repeat_interleave(offsets.diff())
    position = torch.arange(len(corners), device=corners.device)
    return corners[offsets[polygon] + offsets[polygon + 1] - 1 - position]


def _runs_along(
    corners: Int64[Tensor, "m"],
    offsets: Int64[Tensor, "f_plus_1"],
    edge_faces: Int64[Tensor, "e 2"],
    edges: Int64[Tensor, "e 2"],
) -> Bool[Tensor, "e 2"]:
    """Whether each of an edge's polygons runs through it from its first end to its second."""
    polygon = torch.arange(len(offsets) - 1, device=corners.device)
    polygon = polygon.repeat_interleave(offsets.diff())
    num_vertices = int(edges.max()) + 1 if len(edges) else 1
    num_polygons = len(offsets) - 1
    # (polygon, start, end) as one sortable number: the end is implied by the polygon and start.
    there = polygon * num_vertices + corners
    there, order = torch.sort(there)
    end = corners[next_corner(offsets)][order]
    wanted = edge_faces.clamp(min=0) * num_vertices + edges[:, :1]
    if num_polygons == 0:
        return torch.zeros_like(edge_faces, dtype=torch.bool)
    return end[torch.searchsorted(there, wanted).clamp(max=len(end) - 1)] == edges[:, 1:]


def pair_faces(
    edge_of: Int64[Tensor, "m"], face_of: Int64[Tensor, "m"], num_edges: int
) -> Int64[Tensor, "e 2"]:
    """The (at most two) faces at each edge from a list of (edge, face) pairs; -1 pads.

    Raises:
        InputError: if an edge has more than two faces.
    """
    edge, order = torch.sort(edge_of, stable=True)
    counts = torch.bincount(edge, minlength=num_edges)
    if len(counts) and int(counts.max()) > 2:
        raise InputError("an edge has more than two polygons: the mesh is not a surface")
    is_second = torch.zeros_like(edge, dtype=torch.bool)
    is_second[1:] = edge[1:] == edge[:-1]
    faces = edge.new_full((num_edges, 2), -1)
    faces[edge, is_second.long()] = face_of[order]
    return faces


def fan_triangles(
    corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"]
) -> Int64[Tensor, "t 3"]:
    """Every polygon cut into a fan of triangles at its first corner, in polygon order."""
    sizes = offsets.diff()
    first = offsets[:-1].repeat_interleave(sizes)
    position = torch.arange(len(corners), device=corners.device)
    following = (position + 1).clamp(max=len(position) - 1)
    fan = torch.stack([first, position, following], dim=1)
    inside = (position > first) & (position + 1 < first + sizes.repeat_interleave(sizes))
    return corners[fan[inside]]
