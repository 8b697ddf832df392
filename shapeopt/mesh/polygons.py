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
        raise does_not_close_up()
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


def does_not_close_up() -> ExtractionError:
    """The error for edges that do not make one polygon."""
    return ExtractionError("the edges of a polygon do not close up; please report the network")


def vector_areas(
    vertices: Float[Tensor, "v 3"], corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"]
) -> Float[Tensor, "f 3"]:
    """Half the sum of cross products of consecutive corners: area times unit normal.

    Corners are taken relative to the polygon's first one, which keeps small polygons exact.
    """
    if vertices.device.type == "cpu" and vertices.dtype == torch.float64:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.mesh.polygons_compiled import VectorAreas

        return VectorAreas.apply(vertices, corners, offsets)
    sizes = offsets.diff()
    polygon = torch.arange(len(sizes), device=corners.device).repeat_interleave(sizes)
    relative = vertices[corners] - vertices[corners[offsets[:-1]]][polygon]
    following = next_corner(offsets, len(corners))
    cross = torch.linalg.cross(relative, relative[following], dim=1)
    return vertices.new_zeros(len(sizes), 3).index_add(0, polygon, cross) / 2


def next_corner(offsets: Int64[Tensor, "f_plus_1"], total: int | None = None) -> Int64[Tensor, "m"]:
    """Position of the following corner of the same polygon; of ``total`` corners, if known."""
    total = int(offsets[-1]) if total is None else total
    following = torch.arange(1, total + 1, device=offsets.device)
    following[offsets[1:] - 1] = offsets[:-1]
    return following


def reversed_corners(
    corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"]
) -> Int64[Tensor, "m"]:
    """Every polygon the other way round."""
    polygon = torch.arange(len(offsets) - 1, device=corners.device)
    polygon = polygon.repeat_interleave(offsets.diff())
    position = torch.arange(len(corners), device=corners.device)
    return corners[offsets[polygon] + offsets[polygon + 1] - 1 - position]


def is_wound_consistently(
    corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"], num_vertices: int
) -> bool:
    """Whether no edge is run through twice in one direction."""
    return not bool(runs_repeat(corners, offsets, num_vertices))


def runs_repeat(
    corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"], num_vertices: int
) -> Bool[Tensor, ""]:
    """Whether an edge is run through twice in one direction."""
    following = next_corner(offsets, len(corners))
    runs, _ = torch.sort(corners * num_vertices + corners[following])
    return (runs[1:] == runs[:-1]).any()


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
    if corners.device.type == "cpu":
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.mesh.polygons_compiled import fans

        return torch.from_numpy(fans(corners.contiguous().numpy(), offsets.contiguous().numpy()))
    sizes = offsets.diff()
    first = offsets[:-1].repeat_interleave(sizes)
    position = torch.arange(len(corners), device=corners.device)
    following = (position + 1).clamp(max=len(position) - 1)
    fan = torch.stack([first, position, following], dim=1)
    inside = (position > first) & (position + 1 < first + sizes.repeat_interleave(sizes))
    return corners[fan[inside]]


def edges_of_corners(
    corners: Int64[Tensor, "m"], offsets: Int64[Tensor, "f_plus_1"], edges: Int64[Tensor, "e 2"]
) -> Int64[Tensor, "m"]:
    """The edge from each corner of each polygon to its next one."""
    following = next_corner(offsets, len(corners))
    ends = torch.stack([corners, corners[following]], dim=1).sort(dim=1).values
    count = int(edges.max()) + 1
    low, high = edges.sort(dim=1).values.unbind(1)
    names, order = torch.sort(low * count + high)
    return order[torch.searchsorted(names, ends[:, 0] * count + ends[:, 1])]
