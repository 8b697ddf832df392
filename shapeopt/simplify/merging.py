"""Merges nearly coplanar neighbouring polygons of a surface within an error."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.errors import InputError
from shapeopt.mesh.planar import is_simple, plane_axes
from shapeopt.mesh.polygon_mesh import PolygonMesh

# The two parts of the error add up as legs of a right triangle: (2 * 0.4)^2 + 0.6^2 = 1.
PLANE_FRACTION = 0.4
BORDER_FRACTION = 0.6


@dataclass(frozen=True)
class MergedMesh(PolygonMesh):
    """Polygons that are flat up to an error, and convex or not."""

    def triangles(self) -> Int64[Tensor, "t 3"]:
        """Every polygon cut into triangles as far from slivers as can be, in polygon order."""
        return self.clipped_ears(torch.arange(self.num_faces))


def merge_polygons(surface: PolygonMesh, error: float) -> MergedMesh:
    """Merges neighbouring polygons whose corners are all within ``0.4 error`` of one plane.

    The flattest pair goes first, until none is left. Then a vertex between only two polygons goes
    if it is within ``0.6 error`` of the straight line that replaces it. Every vertex that is left
    is one of the surface's own. A merged polygon has one boundary without a repeated vertex and,
    seen along its normal, does not overlap itself, so the mesh stays closed and manifold if it
    was.

        0.4 error | ~~~~~~~~~~~       the surface and the merged polygon lie in this layer:
        ----------+-----------        2 x 0.4 error apart at most, and 0.6 error sideways at
        0.4 error | ~~~~~~~~~~~       straightened borders; sqrt(0.8^2 + 0.6^2) = 1

    Args:
        surface: in 3D; nothing is differentiated.
        error: largest distance between the surface and the result, both ways, in units of the
            vertices.

    Raises:
        InputError: if the error is negative or not finite, or the surface is a polyline.
    """
    if not (np.isfinite(error) and error >= 0):
        raise InputError(f"error is {error}; it must be a length, 0 or more")
    regions = _regions(surface)
    _merge_all(regions, PLANE_FRACTION * error)
    return _finished(surface, regions, error)


def merge_to_count(surface: PolygonMesh, faces: int) -> tuple[MergedMesh, float]:
    """Merges the flattest pair of polygons again and again until few enough are left.

    Args:
        surface: in 3D; nothing is differentiated.
        faces: polygons to be left. There are more only where no two can become one polygon.

    Returns:
        The mesh, and the error within which :func:`merge_polygons` would have merged as much: the
        largest distance between surface and mesh, both ways, is at most that.

    Raises:
        InputError: for fewer than 4 faces, and if the surface is a polyline.
    """
    if faces < 4:
        raise InputError(f"faces is {faces}; a closed surface has at least 4")
    regions = _regions(surface)
    error = _merge_all(regions, np.inf, faces) / PLANE_FRACTION
    return _finished(surface, regions, error), error


def _regions(surface: PolygonMesh) -> "_Regions":
    if surface.vertices.shape[1] != 3:
        raise InputError("only surfaces in 3D have polygons to merge; this one is a polyline")
    vertices = surface.vertices.detach().double().cpu().numpy()
    return _Regions(vertices, _polygons(surface), surface.face_normals.detach().double().cpu())


def _finished(surface: PolygonMesh, regions: "_Regions", error: float) -> MergedMesh:
    """Straightens the borders of what was merged within an error."""
    loops = {name: region.loop for name, region in regions.alive.items()}
    normals = {name: region.normal for name, region in regions.alive.items()}
    _straighten(regions.vertices, loops, normals, BORDER_FRACTION * error)
    return _build(surface.vertices.detach().double().cpu(), loops, normals)


@dataclass
class _Region:
    """Polygons that are one now.

    Attributes:
        loop: its boundary, counter-clockwise.
        corners: all vertices of the polygons it was made of.
        facings: unit normals of those polygons.
        moments: area-weighted x x^T, x and 1 as one matrix, for the plane.
        normal: unit normal of the plane.
        stamp: changes when the region does, to tell queued merges that are out of date.
    """

    loop: list[int]
    corners: Int64[np.ndarray, "n"]
    facings: Float[np.ndarray, "k 3"]
    moments: Float[np.ndarray, "4 4"]
    normal: Float[np.ndarray, "3"]
    stamp: int = 0


class _Regions:
    """The regions that are left, and who lies beyond each directed edge."""

    def __init__(
        self,
        vertices: Float[np.ndarray, "v 3"],
        polygons: Sequence[Sequence[int]],
        normals: Float[Tensor, "f 3"],
    ):
        self.vertices = vertices
        self.alive: dict[int, _Region] = {}
        self.owner: dict[tuple[int, int], int] = {}
        for name, (polygon, normal) in enumerate(zip(polygons, normals.numpy(), strict=True)):
            loop = list(polygon)
            moments = _moments(vertices[loop], normal)
            corners = np.array(loop)
            self.alive[name] = _Region(loop, corners, normal[None], moments, normal)
            self.owner.update(dict.fromkeys(_sides(loop), name))

    def neighbours(self, name: int) -> set[int]:
        """Regions that share an edge with this one."""
        beyond = (self.owner.get((v, u)) for u, v in _sides(self.alive[name].loop))
        return {other for other in beyond if other is not None and other != name}

    def plane(self, one: int, two: int) -> tuple[float, Float[np.ndarray, "3"]]:
        """Largest distance of the corners of both to their common plane, and its normal.

        The plane is that of least squares over the area, moved to the middle of the heights.
        """
        a, b = self.alive[one], self.alive[two]
        moments = a.moments + b.moments
        center = moments[3, :3] / moments[3, 3]
        spread = moments[:3, :3] / moments[3, 3] - np.outer(center, center)
        normal = np.linalg.eigh(spread)[1][:, 0]
        outward = a.moments[3, 3] * a.normal + b.moments[3, 3] * b.normal
        if normal @ outward < 0:
            normal = -normal
        heights = self.vertices[np.concatenate([a.corners, b.corners])] @ normal
        return float(np.ptp(heights)) / 2, normal

    def merge(self, one: int, two: int, normal: Float[np.ndarray, "3"]) -> bool:
        """Makes the two one, under the first name, unless they overlap seen along the normal."""
        a, b = self.alive[one], self.alive[two]
        facings = np.concatenate([a.facings, b.facings])
        loop = _joined(a.loop, b.loop)
        if loop is None or (facings @ normal <= 0).any():
            return False
        if not is_simple(self.vertices[loop] @ plane_axes(normal).T):
            return False
        for side in set(_sides(a.loop) + _sides(b.loop)) - set(_sides(loop)):
            del self.owner[side]
        self.owner.update(dict.fromkeys(_sides(loop), one))
        corners = np.union1d(a.corners, b.corners)
        stamp = max(a.stamp, b.stamp) + 1
        self.alive[one] = _Region(loop, corners, facings, a.moments + b.moments, normal, stamp)
        del self.alive[two]
        return True


def _merge_all(regions: _Regions, limit: float, faces: int = 0) -> float:
    """Merges the flattest pair again and again while its deviation is within the limit, down to a
    number of faces. Returns the largest deviation."""
    largest = 0.0
    queue: list[tuple[float, int, int, int, int]] = []

    def add(one: int, two: int) -> None:
        one, two = min(one, two), max(one, two)
        deviation, _ = regions.plane(one, two)
        if deviation <= limit:
            stamps = regions.alive[one].stamp, regions.alive[two].stamp
            heapq.heappush(queue, (deviation, one, two, *stamps))

    for name in regions.alive:
        for other in regions.neighbours(name):
            if name < other:
                add(name, other)
    while queue and len(regions.alive) > faces:
        deviation, one, two, *stamps = heapq.heappop(queue)
        if not all(
            name in regions.alive and regions.alive[name].stamp == stamp
            for name, stamp in zip((one, two), stamps, strict=True)
        ):
            continue
        _, normal = regions.plane(one, two)
        if regions.merge(one, two, normal):
            largest = max(largest, deviation)
            for other in regions.neighbours(one):
                add(one, other)
    return largest


def _joined(one: Sequence[int], two: Sequence[int]) -> list[int] | None:
    """Boundary of the union of two polygons; None if it is not one loop of distinct vertices."""
    sides = _sides(one) + _sides(two)
    there = set(sides)
    following: dict[int, int] = {}
    for u, v in sides:
        if (v, u) in there:
            continue
        if u in following:
            return None
        following[u] = v
    if not following:
        return None
    loop = [next(iter(following))]
    while (v := following[loop[-1]]) != loop[0]:
        loop.append(v)
    return loop if len(loop) == len(following) else None


def _moments(
    points: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Integral of (x, 1) (x, 1)^T over a flat polygon, convex or not."""
    a, b, c = np.broadcast_arrays(points[:1], points[1:-1], points[2:])
    # Of a fan, what lies outside the polygon is covered as often backwards.
    areas = np.cross(b - a, c - a) @ normal / 2
    # Over a triangle, a product of affine functions is that at the middles of its sides.
    middles = np.concatenate([a + b, b + c, c + a]) / 2
    padded = np.concatenate([middles, np.ones((len(middles), 1))], axis=1)
    weights = np.tile(areas / 3, 3)
    # A polygon without area still says where its corners are.
    return (padded * weights[:, None]).T @ padded + 1e-300 * np.eye(4)


def _straighten(
    vertices: Float[np.ndarray, "v 3"],
    loops: dict[int, list[int]],
    normals: dict[int, Float[np.ndarray, "3"]],
    limit: float,
) -> None:
    """Takes vertices between only two polygons, or one at a border, out of the loops."""
    owner = {side: name for name, loop in loops.items() for side in _sides(loop)}

    def straighten(chain: list[int], sides: tuple[int, int | None]) -> None:
        if len(chain) < 3:
            return
        distances = _distances_to_segment(vertices[chain])
        if distances.max() <= limit and shorten(chain, sides):
            return
        middle = int(distances[1:-1].argmax()) + 1
        straighten(chain[: middle + 1], sides)
        straighten(chain[middle:], sides)

    def shorten(chain: list[int], sides: tuple[int, int | None]) -> bool:
        start, end = chain[0], chain[-1]
        if (start, end) in owner or (end, start) in owner:
            return False
        gone = set(chain[1:-1])
        shorter = {
            name: [v for v in loops[name] if v not in gone] for name in sides if name is not None
        }
        for name, loop in shorter.items():
            if not is_simple(vertices[loop] @ plane_axes(normals[name]).T):
                return False
        loops.update(shorter)
        for u, v in pairwise(chain):
            owner.pop((u, v), None)
            owner.pop((v, u), None)
        owner[start, end] = sides[0]
        if sides[1] is not None:
            owner[end, start] = sides[1]
        return True

    for chain, sides in _chains(vertices, loops, owner):
        straighten(chain, sides)


def _chains(
    vertices: Float[np.ndarray, "v 3"],
    loops: dict[int, list[int]],
    owner: dict[tuple[int, int], int],
) -> list[tuple[list[int], tuple[int, int | None]]]:
    """The borders between two polygons, from junction to junction, and those polygons.

    The first polygon runs along the chain; the second is None at the border of the surface. A
    loop without a junction counts as two chains between two vertices far apart.
    """
    chains = []
    for name, loop in loops.items():
        beyond = [owner.get((v, u)) for u, v in _sides(loop)]
        junctions = [i for i in range(len(loop)) if beyond[i - 1] != beyond[i]]
        if not junctions:
            distances = np.linalg.norm(vertices[loop] - vertices[loop[0]], axis=1)
            junctions = [0, int(distances.argmax())]
        for first, last in zip(junctions, junctions[1:] + junctions[:1], strict=True):
            other = beyond[first]
            if other is None or name < other:
                length = (last - first) % len(loop) or len(loop)
                chain = [loop[(first + i) % len(loop)] for i in range(length + 1)]
                chains.append((chain, (name, other)))
    return chains


def _distances_to_segment(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Distance of each point to the segment from the first to the last."""
    along = points[-1] - points[0]
    offset = points - points[0]
    position = np.clip(offset @ along / max(float(along @ along), 1e-300), 0, 1)
    return np.linalg.norm(offset - position[:, None] * along, axis=1)


def _build(
    vertices: Float[Tensor, "v 3"],
    loops: dict[int, list[int]],
    normals: dict[int, Float[np.ndarray, "3"]],
) -> MergedMesh:
    """The mesh of the loops, with the vertices that they use."""
    used = sorted({v for loop in loops.values() for v in loop})
    place = {v: i for i, v in enumerate(used)}
    mesh = PolygonMesh.from_polygons(
        vertices[used], [[place[v] for v in loop] for loop in loops.values()]
    )
    # The plane's normal, and not that of the corners, is the one the loop is simple along.
    planes = torch.from_numpy(np.array([normals[name] for name in loops]).reshape(-1, 3))
    parts = {field.name: getattr(mesh, field.name) for field in fields(mesh)}
    return MergedMesh(**parts | {"face_normals": planes})


def _polygons(surface: PolygonMesh) -> list[list[int]]:
    sizes = surface.face_offsets.diff().tolist()
    return [polygon.tolist() for polygon in surface.face_vertices.cpu().split(sizes)]


def _sides(loop: Sequence[int]) -> list[tuple[int, int]]:
    """Directed edges of a loop."""
    return list(zip(loop, [*loop[1:], loop[0]], strict=True))
