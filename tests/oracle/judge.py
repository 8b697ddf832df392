"""Holds what an extractor returns against the exact surface of the same network.

What is checked of a surface that is returned: numbers are finite, normals have length 1, its edges
are those of its polygons, no edge has more than two polygons, an edge with one lies in a face of
the box, two polygons run through their edge in opposite directions, vertices lie on the exact
surface, the area is the exact one, and so is the volume with cap=True. Lengths are in units of the
box's longest side.

Where a plateau of f, a fold of f or a face of the box lies at f = 0 up to rounding, an extractor
may answer for f + c with a c of rounding size. That is called a tie and counted by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch

import shapeopt
from shapeopt import EmptySurfaceError, ExtractionError, InputError, PolyhedralSurface
from shapeopt.extraction.condition import condition
from shapeopt.extraction.extract import prepare
from shapeopt.extraction.extractor import Backend, is_compiled
from shapeopt.extraction.finish import finish
from shapeopt.extraction.no_zero import NoZero, empty_surface
from shapeopt.extraction.subdivision.assemble import zero_set
from shapeopt.extraction.subdivision.pruning import Pruning
from shapeopt.extraction.subdivision.subdivide import subdivide
from shapeopt.extraction.tolerances import consistently
from shapeopt.networks.affine import without_graph
from tests.oracle.exact import Cell, ExactSurface, exact_surface
from tests.oracle.generators import Case

POSITION = 1e-9
"""How far off a vertex may be where rounding explains nothing, in extents of the surface."""

AREA = {torch.float64: (1e-6, 1e-9), torch.float32: (1e-4, 1e-6)}
"""How far off areas and volumes may be: of the exact one, and of the surface's extent."""

ROUNDINGS = 64
"""Roundings of the largest terms that a value of f may carry."""


def _pruned(case: Case, backend: Backend) -> PolyhedralSurface:
    """Subdivision that leaves out regions from the first layer on, whatever that costs."""
    layers, box = prepare(case.network, case.bounds, None)
    unit = condition(layers, box)
    constant = without_graph(unit.layers)
    always = Pruning(min_vertices=0, min_growth=0, min_cuts=0)

    def surface(ulps: int) -> PolyhedralSurface:
        options = {"backend": backend, "pruning": always, "ulps": ulps}
        skeleton = subdivide(constant, unit.box, surface_only=True, **options)
        compiled = is_compiled(backend, unit.box.lower.device)
        found = zero_set(constant, unit.box, skeleton, compiled=compiled)
        return finish(unit.layers, unit.box, found, compiled=compiled)

    try:
        return unit.undo(consistently(surface))
    except NoZero as none:
        raise empty_surface(none, box, float(unit.output_size)) from None


def _surface(case: Case, extractor: shapeopt.Extractor) -> PolyhedralSurface:
    return shapeopt.extract_surface(case.network, case.bounds, extractor=extractor)


EXTRACTORS: dict[str, Callable[[Case], PolyhedralSurface]] = {
    "plain": lambda case: _surface(case, shapeopt.Subdivision(backend="plain")),
    "compiled": lambda case: _surface(case, shapeopt.Subdivision(backend="compiled")),
    "pruned plain": lambda case: _pruned(case, "plain"),
    "pruned compiled": lambda case: _pruned(case, "compiled"),
    "cap": lambda case: _surface(case, shapeopt.Subdivision(cap=True)),
    "tracing": lambda case: _surface(case, shapeopt.Tracing()),
    "complete tracing": lambda case: _surface(case, shapeopt.Tracing(complete=True)),
}
"""All ways to a surface. ``"cap"`` exists in 3D only."""


@dataclass(frozen=True)
class Verdict:
    """What came of one extraction.

    Attributes:
        outcome: ``"right"``, ``"tie"`` (right for f + c, see above), ``"silent"`` (wrong without an
            error), ``"refused"`` (one of the package's errors) or ``"crashed"`` (any other).
        fault: one word for what is wrong, or the first words of the error.
        details: figures.
    """

    outcome: str
    fault: str = ""
    details: str = ""


class Truth:
    """The exact surface of a case, and the distances from it that rounding explains."""

    def __init__(self, case: Case, shift: Fraction | int = 0):
        self.case = case
        self.shift = abs(float(shift))
        self.exact: ExactSurface = exact_surface(case.network, *case.bounds, shift=shift)
        self.eps = float(torch.finfo(case.dtype).eps)
        ends = np.array(case.bounds, dtype=np.float64)
        self.size = float(self.exact.size)
        self.grid = self.eps * float(np.abs(ends).max()) / self.size
        """Spacing of the floats of the box."""

    @cached_property
    def slack(self) -> np.ndarray:
        """Of each polygon, how far rounding may move it along its normal."""
        moves = []
        for cell in self.exact.owners:
            terms, slope = _terms_and_slope(self.case, cell)
            rounding = ROUNDINGS * self.eps * terms + 2 * self.shift
            moves.append(rounding / max(slope, 1e-300) / self.size)
        return POSITION * self.extent + 4 * self.grid + np.array(moves)

    @cached_property
    def extent(self) -> float:
        """Longest side of a box around the surface; 1 if there is none."""
        if not self.exact.polygons:
            return 1.0
        places = np.concatenate([self.exact.places(polygon) for polygon in self.exact.polygons])
        return float(np.ptp(places, axis=0).max())

    @cached_property
    def moved(self) -> list[Truth]:
        """The truths for f a few roundings larger and smaller."""
        terms = Fraction(_terms_and_slope(self.case, None)[0])
        shift = ROUNDINGS * Fraction(self.eps) * terms
        return [Truth(self.case, shift), Truth(self.case, -shift)]

    def distances(self, points: np.ndarray) -> np.ndarray:
        """From points to the surface beyond what rounding explains; at most 0 if all is well."""
        best = np.full(len(points), np.inf)
        for polygon, slack in zip(self.exact.polygons, self.slack, strict=True):
            best = np.minimum(best, _distance(points, self.exact.places(polygon)) - slack)
        return best

    def relative(self, vertices: torch.Tensor) -> np.ndarray:
        """Vertices from the centre of the box, in units of its longest side."""
        lower, upper = np.array(self.case.bounds, dtype=np.longdouble)
        return ((vertices.numpy() - (lower + upper) / 2) / (upper - lower).max()).astype(float)

    def in_wall(self, points: np.ndarray) -> np.ndarray:
        """``[n, 2 d]``: which planes of the box the points lie on."""
        lower, upper = np.array(self.case.bounds)
        half = (upper - lower) / self.size / 2
        near = POSITION + 4 * self.grid
        return np.abs(np.concatenate([points - half, points + half], axis=1)) < near

    @property
    def area_tolerance(self) -> float:
        """How far off the area may be."""
        lengths = [_perimeter(self.exact.places(polygon)) for polygon in self.exact.polygons]
        relative, absolute = AREA[self.case.dtype]
        absolute *= self.extent ** (len(self.case.lower) - 1)
        return relative * self.exact.area + absolute + float(np.dot(self.slack, lengths))

    @property
    def volume_tolerance(self) -> float:
        """How far off the volume may be."""
        relative, absolute = AREA[self.case.dtype]
        return (
            relative * self.exact.volume
            + absolute * self.extent
            + float(np.dot(self.slack, self.exact.areas))
        )


def judge(truth: Truth, extractor: str) -> Verdict:
    """Runs an extractor on a case and compares."""
    try:
        with torch.no_grad():
            surface = EXTRACTORS[extractor](truth.case)
    except EmptySurfaceError as error:
        surface, message = None, str(error)
    except (InputError, ExtractionError) as error:
        return Verdict("refused", " ".join(str(error).split()[:6]), str(error)[:200])
    except Exception as error:
        return Verdict("crashed", type(error).__name__, str(error)[:200])
    if surface is None:
        verdict = _empty(truth, message)
    else:
        verdict = _numbers(surface) or _combinatorics(truth, surface)
        if verdict is not None:
            return verdict
        verdict = _measures(truth, surface, extractor)
    if verdict.outcome == "silent":
        for other in truth.moved:
            again = _measures(other, surface, extractor) if surface else _empty(other, "")
            if again.outcome == "right":
                return Verdict("tie", verdict.fault, verdict.details)
    return verdict


def verdicts(case: Case) -> dict[str, Verdict]:
    """What came of each extractor that exists for the case."""
    truth = Truth(case)
    names = [name for name in EXTRACTORS if name != "cap" or len(case.lower) == 3]
    return {name: judge(truth, name) for name in names}


def _empty(truth: Truth, message: str) -> Verdict:
    """Of the error that there is no zero in the box."""
    if truth.exact.area <= truth.area_tolerance:
        return Verdict("right")
    return Verdict("silent", "empty", f"exact area {truth.exact.area:.3g}; {message}"[:200])


def _numbers(surface: PolyhedralSurface) -> Verdict | None:
    if not all(bool(x.isfinite().all()) for x in (surface.vertices, surface.face_normals)):
        return Verdict("silent", "not finite")
    off = (surface.face_normals.double().norm(dim=1) - 1).abs()
    if len(off) and float(off.max()) > 1e-3:
        return Verdict("silent", "normal", f"length off by {float(off.max()):.3g}")
    return None


def _combinatorics(truth: Truth, surface: PolyhedralSurface) -> Verdict | None:
    """Winding and borders, with edges from the polygons, not from the surface's own lists."""
    points = truth.relative(surface.vertices)
    corners, offsets = surface.face_vertices.numpy(), surface.face_offsets.numpy()
    if (np.diff(offsets) < 3).any():
        return Verdict("silent", "polygon", "with fewer than three corners")
    following = np.arange(1, len(corners) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    if points.shape[1] == 2:
        ends, counts = np.unique(corners, return_counts=True)
        ends = ends[:, None]
    else:
        there = np.stack([corners, corners[following]], axis=1)
        ends, counts = np.unique(np.sort(there, axis=1), axis=0, return_counts=True)
        twice = len(there) - len(np.unique(there, axis=0))
        if twice and counts.max() <= 2:
            return Verdict("silent", "winding", f"{twice} of {len(ends)} edges")
        if (there[:, 0] == there[:, 1]).any():
            return Verdict("silent", "repeated corner")
        listed = np.unique(np.sort(surface.edges.numpy(), axis=1), axis=0, return_index=True)
        if not np.array_equal(listed[0], ends) or len(ends) != surface.num_edges:
            return Verdict("silent", "edges", "are not those of the polygons")
        if not np.array_equal((surface.edge_faces.numpy() >= 0).sum(axis=1)[listed[1]], counts):
            return Verdict("silent", "edge faces", "are not the polygons at the edges")
    if len(counts) and counts.max() > 2:
        return Verdict("silent", "edge of three", f"{int((counts > 2).sum())} of {len(ends)}")
    open_ends = ends[counts == 1]
    inside = ~truth.in_wall(points)[open_ends].all(axis=1).any(axis=1)
    if inside.any():
        return Verdict("silent", "open", f"{int(inside.sum())} of {len(ends)} edges end inside")
    return None


def _measures(truth: Truth, surface: PolyhedralSurface, extractor: str) -> Verdict:
    """Area and positions; with caps the volume."""
    exact, tolerance = truth.exact, truth.area_tolerance
    if extractor == "cap":
        if not surface.is_closed:
            return Verdict("silent", "open", "with caps")
        volume = float(surface.volume()) / truth.size**3
        if abs(volume - exact.volume) > truth.volume_tolerance:
            return Verdict("silent", "volume", f"{volume:.9g} for {exact.volume:.9g}")
        return Verdict("right")
    areas = _areas(truth, surface)
    area = float(areas.sum())
    off = truth.distances(truth.relative(surface.vertices))
    if abs(area - exact.area) > tolerance:
        lies_on_it = (off <= 0).all() and (areas >= -tolerance).all()
        fault = "missed part" if lies_on_it and area < exact.area else "area"
        return Verdict("silent", fault, f"area {area:.9g} for {exact.area:.9g}")
    # What is returned where there is nothing has no area, or would have been named above.
    if exact.polygons and off.max() > 0:
        return Verdict("silent", "position", f"{int((off > 0).sum())} vertices, by {off.max():.3g}")
    return Verdict("right")


def _areas(truth: Truth, surface: PolyhedralSurface) -> np.ndarray:
    """Of the polygons, in units of the box, with the sign that winding and normals give them."""
    points = truth.relative(surface.vertices)
    if points.shape[1] == 2:
        start, end = points[surface.edges.numpy()].transpose(1, 0, 2)
        return np.linalg.norm(end - start, axis=1)
    corners, areas = surface.face_vertices.numpy(), []
    offsets, normals = surface.face_offsets.tolist(), surface.face_normals.double().numpy()
    for start, stop, normal in zip(offsets, offsets[1:], normals, strict=False):
        arms = points[corners[start + 1 : stop]] - points[corners[start]]
        areas.append(np.cross(arms[:-1], arms[1:]).sum(axis=0) @ normal / 2)
    return np.array(areas)


def _terms_and_slope(case: Case, cell: Cell | None) -> tuple[float, float]:
    """Size of the terms that make f on a cell, and the length of its gradient there.

    Without a cell: of the terms that make f if every neuron is on.
    """
    size = np.abs(np.array(case.bounds)).max(axis=0)
    slope = np.eye(len(size))
    neuron = 0
    for module in case.network[::2]:
        weight = module.weight.detach().double().numpy()
        size = np.abs(weight) @ size + np.abs(module.bias.detach().double().numpy())
        slope = weight @ slope
        if cell is not None and module is not case.network[-1]:
            on = np.array([cell.sign(neuron + i) > 0 for i in range(len(size))])
            size, slope = size * on, slope * on[:, None]
            neuron += len(size)
    return float(size[0]), math.hypot(*slope[0])


def _distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """From points to a convex polygon (3D) or a segment (2D)."""
    edges = [polygon] if len(polygon) == 2 else np.stack([polygon, np.roll(polygon, -1, 0)], 1)
    best = np.full(len(points), np.inf)
    for start, end in edges:
        arm = end - start
        along = np.clip((points - start) @ arm / max(arm @ arm, 1e-300), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - start - along[:, None] * arm, axis=1))
    if len(polygon) == 2:
        return best
    arms = polygon[1:] - polygon[0]
    normal = np.cross(arms[:-1], arms[1:]).sum(axis=0)
    length = np.linalg.norm(normal)
    if length < 1e-24:
        return best
    normal /= length
    inside = np.ones(len(points), dtype=bool)
    for start, end in edges:
        inside &= (points - start) @ np.cross(normal, end - start) >= 0
    return np.where(inside, np.minimum(best, np.abs((points - polygon[0]) @ normal)), best)


def _perimeter(polygon: np.ndarray) -> float:
    if len(polygon) == 2:
        return 1.0
    return float(np.linalg.norm(polygon - np.roll(polygon, 1, axis=0), axis=1).sum())
