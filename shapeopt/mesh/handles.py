"""Short loops round the handles of a surface."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from shapeopt.mesh.components import connected
from shapeopt.mesh.polygon_mesh import PolygonMesh

ROUNDS = 3
"""How often a shorter loop is sought from a vertex on the one found before."""


def handle_loop(mesh: PolygonMesh, polygon: int) -> Int64[Tensor, "k"]:
    """The vertices, in order, of a short loop of edges that does not bound a part of the surface.

    It goes round a handle or through one: either way the handle goes when the loop shrinks to a
    point. It is not always the shortest of the surface.

    From a vertex, the edges that are neither in a tree of shortest paths nor crossed by a tree of
    the polygons, the heaviest first, are twice as many as handles; each, with a path of the
    polygons' tree, crosses what goes round one of the handles an odd number of times (Erickson and
    Whittlesey, *Greedy optimal homotopy and homology generators*, SODA 2005). So of the loops that
    each edge closes in the first tree, the shortest that one of these is crossed by is taken,
    without the way to it, and sought again from a vertex on it.

    Args:
        mesh: any device.
        polygon: one of a closed component with a handle; the loop is on that component, and is
            first sought from the polygon's first corner.
    """
    surface = _Component(mesh, polygon)
    best = surface.loop_from(int(mesh.face_vertices[mesh.face_offsets[polygon]]))
    for _ in range(ROUNDS):
        found = surface.loop_from(int(best.vertices[0]))  # the other side, seen from the root
        if not found.length < best.length:
            break
        best = found
    return torch.from_numpy(best.vertices).to(mesh.vertices.device)


class _Loop(NamedTuple):
    vertices: Int64[np.ndarray, "k"]
    length: float


class _Component:
    """Edges and polygons of the component of a polygon."""

    def __init__(self, mesh: PolygonMesh, polygon: int):
        interior = (mesh.edge_faces >= 0).all(dim=1)
        label = connected(mesh.num_faces, mesh.edge_faces[interior]).cpu().numpy()
        ends, faces = mesh.edges.cpu().numpy(), mesh.edge_faces.cpu().numpy()
        lengths = mesh.edge_lengths().detach().cpu().double().numpy()
        lengths = lengths + 1e-12 * lengths.max()  # an edge of no length would be none
        # By polygons: components may touch in a vertex.
        here = label[faces.max(axis=1)] == label[polygon]
        self.ends, self.faces, self.lengths = ends[here], faces[here], lengths[here]
        self.graph = _graph(self.ends, self.lengths, mesh.num_vertices)
        self.num_faces = mesh.num_faces

    def loop_from(self, root: int) -> _Loop:
        """The shortest of the loops that edges close in the tree from this vertex."""
        from scipy.sparse.csgraph import dijkstra

        away, before = dijkstra(self.graph, directed=False, indices=root, return_predecessors=True)
        before = np.where(before < 0, np.arange(len(before)), before)  # the root is before itself
        one, two = self.ends.T
        is_path = (before[one] == two) | (before[two] == one)
        crossings = self._crossings(away[one] + away[two] + self.lengths, is_path)
        # Those of the edges from each vertex back to another one, twice as far in each turn.
        on_path, there = np.zeros(len(before), np.int64), before
        on_path[np.where(before[two] == one, two, one)[is_path]] = crossings[is_path]
        while (there != there[there]).any():
            on_path, there = on_path ^ on_path[there], there[there]
        edges = np.flatnonzero(~is_path & (on_path[one] ^ on_path[two] ^ crossings != 0))
        meets = _where_paths_meet(before, away, one[edges], two[edges])
        lengths = away[one[edges]] + away[two[edges]] + self.lengths[edges] - 2 * away[meets]
        best = np.argmin(lengths)
        back, other = (_way(before, int(end[edges[best]]), int(meets[best])) for end in (one, two))
        return _Loop(np.array(back + other[-2::-1]), float(lengths[best]))

    def _crossings(
        self, closing: Float[np.ndarray, "e"], is_path: Bool[np.ndarray, "e"]
    ) -> Int64[np.ndarray, "e"]:
        """Which of the dual loops cross each edge, a bit for each of the first 62.

        Args:
            closing: length of the loop that each edge closes.
            is_path: whether it is in the tree of paths.
        """
        from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

        names = self.faces.min(axis=1) * self.num_faces + self.faces.max(axis=1)
        order = np.argsort(-closing, kind="stable")
        order = order[~is_path[order]]
        # Polygons may meet in several edges: the heaviest stands for all.
        distinct, first = np.unique(names[order], return_index=True)
        chosen = order[first]
        lightness = 2 * closing.max() - closing[chosen]
        tree = minimum_spanning_tree(_graph(self.faces[chosen], lightness, self.num_faces))
        first_face = int(self.faces[0, 0])
        _, before = breadth_first_order(tree, first_face, directed=False)
        pairs = np.stack(tree.tocoo().coords).astype(np.int64)
        in_tree = np.searchsorted(distinct, pairs.min(axis=0) * self.num_faces + pairs.max(axis=0))
        is_left = ~is_path
        is_left[chosen[in_tree]] = False
        crossings = np.zeros(len(closing), np.int64)
        for bit, edge in enumerate(np.flatnonzero(is_left)[:62]):
            crossings[edge] ^= 1 << bit
            for face in self.faces[edge]:
                way = np.array(_way(before, int(face), first_face))
                low, high = np.minimum(way[:-1], way[1:]), np.maximum(way[:-1], way[1:])
                crossed = chosen[np.searchsorted(distinct, low * self.num_faces + high)]
                crossings[crossed] ^= 1 << bit
        return crossings


def _graph(pairs: Int[np.ndarray, "e 2"], weights: Float[np.ndarray, "e"], count: int) -> Any:
    from scipy.sparse import csr_array

    return csr_array((weights, tuple(pairs.T)), shape=(count, count))


def _where_paths_meet(
    before: Int[np.ndarray, "v"],
    away: Float[np.ndarray, "v"],
    one: Int64[np.ndarray, "n"],
    two: Int64[np.ndarray, "n"],
) -> Int64[np.ndarray, "n"]:
    """Where the paths from each pair of vertices back to the root come together."""
    one, two = one.copy(), two.copy()
    while (apart := one != two).any():
        first = apart & (away[one] >= away[two])
        second = apart & ~first
        one[first], two[second] = before[one[first]], before[two[second]]
    return one


def _way(before: Int[np.ndarray, "v"], start: int, end: int) -> list[int]:
    """From one to another that is before it, both included."""
    way = [start]
    while way[-1] != end:
        way.append(int(before[way[-1]]))
    return way
