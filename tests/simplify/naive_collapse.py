"""Edge collapse, one edge after the other in plain Python: the twin of the compiled one."""

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.simplify.collapse_compiled import (
    FLIP_COSINE,
    LEAST_CROSS,
    REGULARISATION,
    SLIVER,
)


def collapse_edges(mesh: PolygonMesh, triangles: int, error: float = np.inf) -> PolygonMesh:
    """As :func:`shapeopt.simplify.collapse.collapse_edges`."""
    state = _State.of(mesh)
    _collapse_all(state, triangles, error)
    return state.built()


@dataclass
class _State:
    """A triangle mesh that shrinks.

    Attributes:
        points: of all vertices; those that are gone keep their row.
        quadrics: 4 x 4 for each vertex, and in ``weights`` the area in them.
        triangles: that are left, by number.
        normals: unit, of each triangle; of a sliver what it was before.
        around: the triangles at each vertex.
        stamps: change when a vertex does, to tell queued collapses that are out of date.
    """

    points: Float[np.ndarray, "v 3"]
    quadrics: Float[np.ndarray, "v 4 4"]
    weights: Float[np.ndarray, "v"]
    triangles: dict[int, tuple[int, int, int]]
    normals: Float[np.ndarray, "t 3"]
    around: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    stamps: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @staticmethod
    def of(mesh: PolygonMesh) -> "_State":
        points = mesh.vertices.detach().double().cpu().numpy().copy()
        corners = mesh.triangles().cpu().numpy()
        normals = mesh.face_normals.detach().double().cpu().numpy()
        normals = normals[mesh.triangle_faces().cpu().numpy()]
        a, b, c = (points[corners[:, i]] for i in range(3))
        areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        planes = np.concatenate([normals, -(normals * a).sum(axis=1, keepdims=True)], axis=1)
        quadrics = np.zeros((len(points), 4, 4))
        weights = np.zeros(len(points))
        own = areas[:, None, None] * planes[:, :, None] * planes[:, None, :]
        for i in range(3):
            np.add.at(quadrics, corners[:, i], own)
            np.add.at(weights, corners[:, i], areas)
        triangles = dict(enumerate(map(tuple, corners.tolist())))
        state = _State(points, quadrics, weights, triangles, normals.copy())
        for name, triangle in state.triangles.items():
            for vertex in triangle:
                state.around[vertex].add(name)
        return state

    def neighbours(self, vertex: int) -> set[int]:
        """Vertices that share an edge with this one."""
        found = {v for name in self.around[vertex] for v in self.triangles[name]}
        return found - {vertex}

    def place(self, u: int, v: int) -> tuple[float, Float[np.ndarray, "3"]]:
        """Squared distance to the planes, summed, and the place of the vertex that two become."""
        quadric, weight = self.quadrics[u] + self.quadrics[v], self.weights[u] + self.weights[v]
        middle = (self.points[u] + self.points[v]) / 2
        lean = REGULARISATION * max(weight, 1e-300)
        matrix = quadric[:3, :3] + lean * np.eye(3)
        best = np.linalg.solve(matrix, lean * middle - quadric[:3, 3])
        places = [best, self.points[u], self.points[v]]
        costs = [_cost(quadric, place) for place in places]
        least = int(np.argmin(costs))
        return costs[least], places[least]

    def allows(self, u: int, v: int, place: Float[np.ndarray, "3"]) -> bool:
        """Whether the collapse keeps a manifold and turns no triangle over."""
        shared = self.around[u] & self.around[v]
        if len(shared) != 2 or len(self.neighbours(u) & self.neighbours(v)) != 2:
            return False
        if len(self.triangles) <= 4:
            return False
        for moved in (u, v):
            for name in self.around[moved] - shared:
                normal, twice_area, is_sliver = self.shape(name, moved, place)
                before = self.normals[name]
                if not twice_area > LEAST_CROSS or (
                    not is_sliver and before.any() and before @ normal < FLIP_COSINE
                ):
                    return False
        return True

    def shape(
        self, name: int, moved: int, place: Float[np.ndarray, "3"]
    ) -> tuple[Float[np.ndarray, "3"], float, bool]:
        """Normal, twice the area, and whether it is a sliver, with one vertex moved."""
        a, b, c = (place if x == moved else self.points[x] for x in self.triangles[name])
        cross = np.cross(b - a, c - a)
        size = float(np.linalg.norm(cross))
        longest = max(float((x - y) @ (x - y)) for x, y in ((a, b), (b, c), (c, a)))
        return cross / size, size, size < SLIVER * longest

    def collapse(self, u: int, v: int, place: Float[np.ndarray, "3"]) -> None:
        """Makes v part of u."""
        for name in self.around[u] & self.around[v]:
            for vertex in self.triangles.pop(name):
                self.around[vertex].discard(name)
        for name in self.around.pop(v):
            a, b, c = (u if x == v else x for x in self.triangles[name])
            self.triangles[name] = (a, b, c)
            self.around[u].add(name)
        self.points[u] = place
        for name in self.around[u]:
            normal, _, is_sliver = self.shape(name, u, place)
            if not is_sliver:
                self.normals[name] = normal
        self.quadrics[u] += self.quadrics[v]
        self.weights[u] += self.weights[v]
        self.stamps[u] += 1
        self.stamps[v] = -1

    def built(self) -> PolygonMesh:
        """What is left, with the vertices it uses."""
        corners = np.array(list(self.triangles.values()))
        used, place = np.unique(corners, return_inverse=True)
        polygons = place.reshape(-1, 3).tolist()
        return PolygonMesh.from_polygons(torch.from_numpy(self.points[used]), polygons)


def _collapse_all(state: _State, triangles: int, error: float) -> None:
    queue: list[tuple[float, int, int, int, int]] = []

    def add(u: int, v: int) -> None:
        u, v = min(u, v), max(u, v)
        cost, _ = state.place(u, v)
        if cost <= error**2 * max(state.weights[u] + state.weights[v], 1e-300):
            heapq.heappush(queue, (cost, u, v, state.stamps[u], state.stamps[v]))

    for u in sorted(state.around):
        for v in sorted(state.neighbours(u)):
            if u < v:
                add(u, v)
    while queue and len(state.triangles) > triangles:
        _, u, v, *stamps = heapq.heappop(queue)
        if [state.stamps[u], state.stamps[v]] != stamps:
            continue
        _, place = state.place(u, v)
        if state.allows(u, v, place):
            state.collapse(u, v, place)
            for other in sorted(state.neighbours(u)):
                add(u, other)


def _cost(quadric: Float[np.ndarray, "4 4"], place: Float[np.ndarray, "3"]) -> float:
    """Squared distance to the planes, summed over areas."""
    padded = np.append(place, 1.0)
    return max(float(padded @ quadric @ padded), 0.0)
