"""Planes and parts that do nothing go, exactly; and those that do least, one after the other."""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from shapeopt.extraction.halfspaces.extractor import HalfSpaces, Planes
from shapeopt.extraction.halfspaces.polytope import polytope
from shapeopt.extraction.halfspaces.union import manifold_library, solid_of
from shapeopt.lowpoly.result import without_cavities
from shapeopt.mesh.components import connected
from shapeopt.networks.convex_union import ConvexUnion

STRAY, NOT_FAR = 4.0, 5e-3
"""A ratio, and box lengths."""


def without_idle_planes(network: ConvexUnion) -> ConvexUnion:
    """A copy without the planes and parts whose removal leaves the union as it is, exactly.

    A part goes if the others cover it. A plane goes if its part has no face there, or if the other
    parts cover all that the part would gain without it. That is decided by the boolean library,
    one after the other, each against what is left. A plane with a face on the surface needs no
    question: beyond it is the outside.

    Raises:
        ExtractionError: if a boolean fails.
    """
    solids = _Solids(network)
    with torch.no_grad():
        shown = HalfSpaces()(network).face_planes.unique().tolist()
    numbers = np.arange(solids.kept.size).reshape(solids.kept.shape)
    visible = np.isin(numbers, shown)
    for part in np.flatnonzero(solids.kept.any(axis=1) & ~visible.any(axis=1)).tolist():
        if solids.part_volume(part) <= 0:
            solids.drop_part(part)
    for part, plane in np.argwhere(solids.kept & ~visible).tolist():
        if solids.kept[part, plane] and solids.gained_volume(part, plane) <= 0:
            solids.drop_plane(part, plane)
    return network.keeping(torch.from_numpy(solids.kept))


def without_strays(network: ConvexUnion, points: Float[Tensor, "n 3"]) -> ConvexUnion:
    """A copy without parts that lie by themselves and away from the shape.

    A component goes if its corners are on average ``STRAY`` times as far from the points as those
    of the largest component, and farther than ``NOT_FAR``.

    Args:
        network: hard.
        points: on the shape.

    Raises:
        ExtractionError: if the surface cannot be built.
    """
    from scipy.spatial import cKDTree

    with torch.no_grad():
        surface = without_cavities(HalfSpaces()(network))
    label = connected(surface.num_faces, surface.edge_faces).numpy()
    if (label == label[0]).all():
        return network
    of_corner = np.repeat(label, surface.face_offsets.diff().numpy())
    distances, _ = cKDTree(points.numpy()).query(surface.vertices[surface.face_vertices].numpy())
    mean = np.bincount(of_corner, distances) / np.maximum(np.bincount(of_corner), 1)
    largest = np.bincount(label, surface.face_areas().numpy()).argmax()
    far = mean > max(NOT_FAR, STRAY * mean[largest])
    kept = network.is_plane.clone()
    width = kept.shape[1]
    parts = surface.face_planes[torch.from_numpy(far[label])] // width
    kept[parts[parts < len(kept)]] = False
    return network.keeping(kept)


def without_least_planes(
    network: ConvexUnion, faces_of_plane: Sequence[int] | np.ndarray, faces: int
) -> ConvexUnion:
    """A copy without the planes that cost least volume for each face that goes with them.

    One after the other: once a part has lost a plane, what its others cost is asked again. Where
    two planes close a side together, either costs little, and the second one all.

    Args:
        network: hard.
        faces_of_plane: polygons of each plane, ``part * planes_per_part + plane``.
        faces: polygons to be rid of, at least.

    Raises:
        ExtractionError: if a boolean fails.
    """
    solids = _Solids(network)
    counts = np.asarray(faces_of_plane)
    width = solids.kept.shape[1]

    def entry(part: int, plane: int) -> tuple[float, int, int, int]:
        cost = solids.gained_volume(part, plane) / counts[part * width + plane]
        return cost, part, plane, int(solids.kept[part].sum())

    planes = np.argwhere(solids.kept).tolist()
    waiting = [entry(k, p) for k, p in planes if counts[k * width + p]]
    heapq.heapify(waiting)
    gone = 0
    while waiting and gone < faces:
        _, part, plane, then = heapq.heappop(waiting)
        left = int(solids.kept[part].sum())
        if left < then:
            heapq.heappush(waiting, entry(part, plane))
        # What bounds a part needs planes on all sides; so few are left to a part that matters.
        elif left > 4:
            solids.drop_plane(part, plane)
            gone += int(counts[part * width + plane])
    return network.keeping(torch.from_numpy(solids.kept))


class _Solids:
    """The parts of a network as solids, and which of the planes are kept so far."""

    def __init__(self, network: ConvexUnion):
        self.planes = Planes.of(network, (-0.5, 0.5))
        self.kept: Bool[np.ndarray, "k p"] = network.is_plane.cpu().numpy().copy()
        self.solids: dict[int, Any] = {}
        self.boxes = np.full((len(self.kept), 6), np.nan)
        for part in range(self.planes.num_parts):
            self._rebuild(part)

    def drop_part(self, part: int) -> None:
        """Leaves out a part."""
        self.kept[part] = False
        self._rebuild(part)

    def drop_plane(self, part: int, plane: int) -> None:
        """Leaves out a plane; its part grows."""
        self.kept[part, plane] = False
        self._rebuild(part)

    def part_volume(self, part: int) -> float:
        """Volume of a part outside of the others."""
        if part not in self.solids:
            return 0.0
        return self._outside_of(self.solids[part], part)

    def gained_volume(self, part: int, plane: int) -> float:
        """Volume that a part would gain without a plane, outside of the other parts."""
        rows = self._rows(part)
        row = part * self.kept.shape[1] + plane
        normals, offsets = (x[rows].copy() for x in self._arrays())
        beyond = rows == row
        normals[beyond], offsets[beyond] = -normals[beyond], -offsets[beyond]
        piece = polytope(normals, offsets)
        return 0.0 if piece is None else self._outside_of(solid_of(piece, rows), part)

    def _outside_of(self, solid: Any, part: int) -> float:
        library = manifold_library()
        near = _overlaps(solid.bounding_box(), self.boxes)
        others = [self.solids[name] for name in np.flatnonzero(near).tolist() if name != part]
        rest = library.Manifold.batch_boolean([solid, *others], library.OpType.Subtract)
        return 0.0 if rest.is_empty() else float(rest.volume())

    def _rebuild(self, part: int) -> None:
        rows = self._rows(part)
        solid = polytope(*(x[rows] for x in self._arrays())) if self.kept[part].any() else None
        if solid is None:
            self.solids.pop(part, None)
            self.boxes[part] = np.nan
            return
        self.solids[part] = solid_of(solid, rows)
        self.boxes[part] = self.solids[part].bounding_box()

    def _rows(self, part: int) -> np.ndarray:
        width = self.kept.shape[1]
        own = part * width + np.flatnonzero(self.kept[part])
        return np.concatenate([own, np.arange(len(self.planes.same) - 6, len(self.planes.same))])

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.planes.constant_normals, self.planes.constant_offsets


def _overlaps(box: Sequence[float], others: Float[np.ndarray, "k 6"]) -> Bool[np.ndarray, "k"]:
    """Which boxes, each its lower and upper corner, touch one of them; those of NaN do not."""
    one = np.asarray(box)
    return np.all((one[:3] <= others[:, 3:]) & (others[:, :3] <= one[3:]), axis=1)
