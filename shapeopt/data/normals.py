"""Normals for clouds that come without: planes through neighbours, turned to agree."""

import numpy as np
from jaxtyping import Float, Int


def estimate_normals(
    points: Float[np.ndarray, "n 3"], neighbours: int = 12
) -> Float[np.ndarray, "n 3"]:
    """Unit normals, float64, pointing out of each connected piece of the cloud.

    Fits a plane to each point's nearest neighbours (principal component analysis), then turns
    the normals to agree along a minimum spanning tree that prefers steps between parallel ones
    (Hoppe et al., Surface Reconstruction from Unorganized Points, 1992). Each piece starts at
    an extreme point, where outward is known. A closed cavity inside another piece is turned as
    if it stood alone, and two sheets closer than the points' spacing may be mixed up.

    Args:
        points: any units, at least 4.
        neighbours: points in a plane fit, the point itself among them. More smooths noise,
            fewer keep detail.
    """
    from scipy.spatial import cKDTree

    points = points.astype(np.float64)
    neighbours = min(neighbours, len(points))
    _, nearest = cKDTree(points).query(points, k=neighbours)
    spread = points[nearest] - points[nearest].mean(axis=1, keepdims=True)
    # The direction of least variance; eigh sorts eigenvalues upwards.
    _, vectors = np.linalg.eigh(np.swapaxes(spread, 1, 2) @ spread)
    return orient_normals(points, vectors[:, :, 0], nearest)


def orient_normals(
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    nearest: Int[np.ndarray, "n k"],
) -> Float[np.ndarray, "n 3"]:
    """Flips normals so that neighbours agree and every piece points out (see above).

    Args:
        nearest: for each point the numbers of its neighbours.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    count, k = nearest.shape
    rows, columns = np.repeat(np.arange(count), k), nearest.reshape(-1)
    other = rows != columns
    rows, columns = rows[other], columns[other]
    agreement = np.abs((normals[rows] * normals[columns]).sum(axis=1))
    # An edge of weight 0 would be no edge at all for scipy.
    weights = 1.001 - np.minimum(agreement, 1.0)
    graph = coo_array((weights, (rows, columns)), shape=(count, count)).tocsr()
    # The neighbour relation is one-sided; the larger of both entries makes it mutual.
    tree = minimum_spanning_tree(graph.maximum(graph.T))
    _, piece = connected_components(tree, directed=False)

    signs = np.zeros(count)
    for root, sign in _roots(points, normals, piece):
        _spread_signs(tree + tree.T, normals, root, sign, signs)
    return normals * signs[:, None]


def _roots(
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    piece: Int[np.ndarray, " n"],
) -> list[tuple[int, float]]:
    """For each piece an extreme point along an axis, and the sign that turns its normal out.

    Of the six candidates the one whose normal is closest to its axis decides best.
    """
    order = np.argsort(piece, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(piece[order])) + 1)
    directions = np.concatenate([np.eye(3), -np.eye(3)])
    roots = []
    for member in members:
        extreme = member[np.argmax(points[member] @ directions.T, axis=0)]
        facing = (normals[extreme] * directions).sum(axis=1)
        best = int(np.argmax(np.abs(facing)))
        roots.append((int(extreme[best]), 1.0 if facing[best] >= 0 else -1.0))
    return roots


def _spread_signs(tree, normals: np.ndarray, root: int, sign: float, signs: np.ndarray) -> None:
    """Walks the tree from its root and writes each point's sign into `signs`."""
    from scipy.sparse.csgraph import breadth_first_order

    order, parent = breadth_first_order(tree, root, directed=False)
    signs[root] = sign
    order = order[1:]
    agree = (normals[order] * normals[parent[order]]).sum(axis=1) >= 0
    for point, previous, same in zip(order, parent[order], agree, strict=True):
        signs[point] = signs[previous] if same else -signs[previous]
