"""What is asked of every polygon of a zero set, compiled for the CPU."""

from typing import no_type_check

import numpy as np

from shapeopt.compiled import kernel, small_kernel


@kernel
@no_type_check
def by_area(vertices, corners, offsets, normals, certain_aspect, certain_length):
    """Which polygons run the wrong way round by their vector areas, and those too thin to tell.

    The twin of what :mod:`shapeopt.extraction.orientation` computes in torch.
    """
    count = len(offsets) - 1
    is_flipped = np.empty(count, np.bool_)
    thin, num_thin = np.empty(count, np.int64), 0
    for polygon in range(count):
        start, stop = offsets[polygon], offsets[polygon + 1]
        first, area, longest = corners[start], 0.0, 0.0
        p, q, r = vertices[first, 0], vertices[first, 1], vertices[first, 2]
        x, y, z = 0.0, 0.0, 0.0  # of the corner before, seen from the first one
        for k in range(start + 1, stop + 1):
            corner = corners[k] if k < stop else first
            a, b, c = vertices[corner, 0] - p, vertices[corner, 1] - q, vertices[corner, 2] - r
            cross = (y * c - z * b) * normals[polygon, 0] + (z * a - x * c) * normals[polygon, 1]
            area += (cross + (x * b - y * a) * normals[polygon, 2]) / 2
            longest = max(longest, (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2)
            x, y, z = a, b, c
        is_flipped[polygon] = area < 0
        thin[num_thin] = polygon
        num_thin += not (longest > certain_length**2 and abs(area) > certain_aspect * longest)
    return is_flipped, thin[:num_thin].copy()


@kernel
@no_type_check
def with_reversed(corners, offsets, is_flipped):
    """The corners, with some polygons the other way round."""
    result = corners.copy()
    for polygon in range(len(is_flipped)):
        if is_flipped[polygon]:
            start, stop = offsets[polygon], offsets[polygon + 1]
            for k in range(start, stop):
                result[k] = corners[start + stop - 1 - k]
    return result


@kernel
@no_type_check
def repeats_a_run(corners, offsets, num_vertices):
    """Whether an edge is run through twice in one direction: by a hash table of all runs."""
    slots = 256
    while slots < 2 * len(corners):
        slots *= 2
    runs = np.full(slots, -1, np.int64)
    for polygon in range(len(offsets) - 1):
        start, stop = offsets[polygon], offsets[polygon + 1]
        for k in range(start, stop):
            run = corners[k] * num_vertices + corners[k + 1 if k + 1 < stop else start]
            slot = ((run * 0x9E3779B97F4A7C15) >> 20) & (slots - 1)
            while runs[slot] >= 0:
                if runs[slot] == run:
                    return True
                slot = (slot + 1) & (slots - 1)
            runs[slot] = run
    return False


@kernel
@no_type_check
def ends_inside(edge_faces, edge_zeros, num_neurons):
    """Whether an edge that has no two polygons lies on no plane of the box."""
    for edge in range(len(edge_faces)):
        if edge_faces[edge, 0] >= 0 and edge_faces[edge, 1] >= 0:
            continue
        is_at_box = False
        for zero in edge_zeros[edge]:
            is_at_box |= zero >= num_neurons
        if not is_at_box:
            return True
    return False


@kernel
@no_type_check
def has_flat_fold(edge_faces, gradients, flattest):
    """Whether the gradients of the two polygons at an edge differ by rounding alone.

    The twin of what :mod:`shapeopt.extraction.dissolve` asks of all edges in torch.
    """
    for edge in range(len(edge_faces)):
        one, two = edge_faces[edge, 0], edge_faces[edge, 1]
        if one < 0 or two < 0:
            continue
        size = difference = 0.0
        for axis in range(gradients.shape[1]):
            size = max(size, abs(gradients[one, axis]))
            difference = max(difference, abs(gradients[one, axis] - gradients[two, axis]))
        if difference <= flattest * size:
            return True
    return False


@kernel
@no_type_check
def has_short_edge(vertices, edges, shortest):
    """Whether an edge is shorter than that."""
    for edge in range(len(edges)):
        if _squared_distance(vertices[edges[edge, 0]], vertices[edges[edge, 1]]) < shortest**2:
            return True
    return False


@kernel
@no_type_check
def has_near_neighbours(vertices, order, nearest):
    """Whether two vertices that follow each other in the order are nearer than that."""
    for place in range(len(order) - 1):
        if _squared_distance(vertices[order[place]], vertices[order[place + 1]]) < nearest**2:
            return True
    return False


@small_kernel
@no_type_check
def _squared_distance(one, two):
    squared = 0.0
    for axis in range(len(one)):
        squared += (two[axis] - one[axis]) ** 2
    return squared
