"""From a cloud and a goal to a union of convex parts, or to triangles, that reach it."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from shapeopt.data.cloud import PointCloud
from shapeopt.data.reference import MeshReference, Reference
from shapeopt.errors import InputError
from shapeopt.evaluation.measures import evaluate
from shapeopt.extraction.halfspaces import HalfSpaces, UnionSurface
from shapeopt.losses.topology import Topology
from shapeopt.lowpoly.fit import FitSettings, Progress, fit
from shapeopt.lowpoly.prune import without_idle_planes, without_least_planes, without_strays
from shapeopt.lowpoly.result import without_cavities
from shapeopt.lowpoly.shape import Goal, ShapeSettings, shape
from shapeopt.lowpoly.triangles import TriangleSettings, freed
from shapeopt.mesh.certificate import Certificate, certify
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.networks.convex_union import ConvexUnion
from shapeopt.training.batches import BatchSource

PLANES_PER_FACE = 1.15
"""Planes to start with for each face asked for: the shape phase takes some of them away."""
PLANES_PER_PART = 14
FACES_TIMES_ERROR = 1.2
"""Faces that a shape of longest side 1 is first thought to need, times the mean distance: somewhat
more than the Stanford bunny does."""
START_FACES = 700
"""A union that triangles come from has planes for at least so many faces: a coarser one lets thin
parts fuse, and what it has fused no collapse parts again."""
ATTEMPTS = 3
"""Fits, from other starts, until the union has the genus of a closed scan."""
TOPOLOGY_WEIGHT = 5e-4
"""Distance that a length of handles and components too many is worth."""
TOLERANCE = 0.05
"""Part of a number of faces by which it may be missed."""
LARGE_FACES = 300
"""Up to so many faces the steps of the shape phase are as large as they come."""
AIM = 0.97
"""Part of a number of faces that is aimed at: the number goes up and down to the last step, and
planes that have to be taken out then cost more distance."""
ROUNDS = 4
"""Rounds of taking out planes and shaping again."""
SEEDS_APART = 1000
BATCH = 2048
POOL = 200_000


@dataclass(frozen=True)
class LowPoly:
    """What was found, in normalised units.

    Attributes:
        network: the convex parts, without idle planes; None for triangles that come from the scan's
            own mesh.
        union: their surface, without cavities; no graph.
        surface: the result: the union, or triangles near it.
        measures: of the result, see :func:`shapeopt.evaluation.measures.evaluate`; lengths in
            longest sides.
    """

    network: ConvexUnion | None
    union: UnionSurface | None
    surface: PolygonMesh
    measures: dict[str, float]

    @property
    def distance(self) -> float:
        """Mean distance to the truth, both ways, in longest sides."""
        return self.measures["distance"]


def find(
    cloud: PointCloud,
    faces: int | None = None,
    error: float | None = None,
    *,
    parts: int | None = None,
    triangles: bool = False,
    convex: bool = False,
    seed: int = 0,
    steps: float = 1.0,
    progress: Progress | None = None,
) -> LowPoly:
    """Fits, shapes, and takes out what does nothing.

    Triangles start from the scan's own mesh if that is closed and in one piece, and no number of
    parts is given; or else from the fitted union. Their vertices are then moved one by one.

    Args:
        cloud: normalised.
        faces: polygons to have; or
        error: mean distance to reach, in longest sides of the cloud.
        parts: convex parts; as many as suit the number of faces if None.
        triangles: whether the result is of triangles, and ``faces`` their number.
        convex: whether the parts are wanted beside triangles that need none.
        seed: of everything random.
        steps: factor on the numbers of steps.
        progress: is told how far it is.

    Raises:
        InputError: for a goal that is none, a number of parts below 1, and a cloud without inside.
        ExtractionError: if a surface cannot be built.
    """
    side = _side(cloud)
    goal = Goal(faces, None if error is None else error * side)
    wanted = faces if faces is not None else math.ceil(FACES_TIMES_ERROR / (error or 1))
    planes = PLANES_PER_FACE * (max(wanted, START_FACES) if triangles else wanted)
    count = parts if parts is not None else max(2, round(planes / PLANES_PER_PART))
    if count < 1:
        raise InputError(f"parts is {count}; there must be at least 1")
    per_part = max(6, math.ceil(planes / count))
    start = _own_mesh(cloud) if triangles and parts is None else None
    if start is not None and not convex:
        return _triangulated(None, start, cloud, goal, wanted, _moving(steps), seed, progress)
    batches = BatchSource(cloud, POOL, BATCH, seed=seed)
    settings = FitSettings(steps=_scaled(FitSettings().steps, steps))
    topology = _topology(cloud)
    network = _fitted(count, per_part, batches, cloud, settings, topology, progress)
    if triangles:
        return _triangulated(network, start, cloud, goal, wanted, _moving(steps), seed, progress)
    shaping = ShapeSettings(
        steps=_scaled(ShapeSettings().steps, steps),
        # Small faces vanish under steps that are right for large ones.
        learning_rate=ShapeSettings().learning_rate * min(1.0, math.sqrt(LARGE_FACES / wanted)),
    )
    if goal.faces is not None:
        network = _to_faces(network, batches, cloud, goal.faces, shaping, topology, progress)
    else:
        network = _to_error(network, batches, cloud, goal, shaping, topology, progress)
    network = without_strays(without_idle_planes(network), cloud.points)
    return measured(network, cloud)


def _fitted(
    parts: int,
    planes: int,
    batches: BatchSource,
    cloud: PointCloud,
    settings: FitSettings,
    topology: Topology | None,
    progress: Progress | None,
) -> ConvexUnion:
    """A union fitted from as many starts as it takes to have the scan's Euler characteristic.

    Where no start leads there, the nearest; for a scan that is not closed, the first.
    """
    inside = batches.points[batches.distances < 0]
    best: tuple[int, ConvexUnion] | None = None
    for attempt in range(ATTEMPTS):
        seed = batches.seed + attempt * SEEDS_APART
        network = ConvexUnion(parts, planes, seed=seed)
        network.start_from(inside, seed)
        fit(network, batches, settings, progress)
        network = without_strays(network, cloud.points)
        if topology is None:
            return network
        surface = outer_surface(network)
        wanted = 2 * topology.components - 2 * topology.genus
        missed = abs(surface.euler_characteristic - wanted)
        if best is None or missed < best[0]:
            best = missed, network
        if missed == 0:
            break
    assert best is not None
    return best[1]


def _topology(cloud: PointCloud) -> Topology | None:
    """No more components and handles than the scan, if that is a closed mesh."""
    found = _closed_mesh(cloud)
    if found is None:
        return None
    components = found[1].components
    genus = sum(part.genus or 0 for part in components)
    return Topology(TOPOLOGY_WEIGHT, len(components), genus)


def _own_mesh(cloud: PointCloud) -> PolygonMesh | None:
    """The scan's mesh if it is closed and in one piece; of several some may be specks or hollows,
    and some may reach into each other."""
    found = _closed_mesh(cloud)
    if found is None:
        return None
    mesh, components = found[0], found[1].components
    return mesh if len(components) == 1 and (components[0].volume or 0) > 0 else None


def _closed_mesh(cloud: PointCloud) -> tuple[PolygonMesh, Certificate] | None:
    """The scan and what is known of it, if it is a closed manifold mesh."""
    reference = cloud.reference
    if not isinstance(reference, MeshReference):
        return None
    vertices = torch.from_numpy(reference.vertices)
    try:
        mesh = PolygonMesh.from_polygons(vertices, reference.faces.tolist())
    except InputError:  # such as three triangles at an edge
        return None
    checked = certify(mesh)
    return (mesh, checked) if checked.is_clean else None


def measured(
    network: ConvexUnion | None,
    cloud: PointCloud,
    samples: int = 100_000,
    surface: PolygonMesh | None = None,
) -> LowPoly:
    """The network with its outer surface and what that measures, or another surface.

    Raises:
        ExtractionError: if the union cannot be built.
    """
    union = None if network is None else outer_surface(network)
    chosen = union if surface is None else surface
    assert chosen is not None
    measures = evaluate(chosen, _reference(cloud), samples)
    lengths = ("distance", "distance_to_truth", "distance_from_truth", "hausdorff")
    side = _side(cloud)
    scaled = {k: v / side if k in lengths else v for k, v in measures.items()}
    return LowPoly(network, union, chosen, scaled)


def outer_surface(network: ConvexUnion) -> UnionSurface:
    """The exact surface without hollows, and without graph.

    Raises:
        ExtractionError: if the union cannot be built.
    """
    with torch.no_grad():
        return without_cavities(HalfSpaces()(network))


def _triangulated(
    network: ConvexUnion | None,
    start: PolygonMesh | None,
    cloud: PointCloud,
    goal: Goal,
    count: int,
    settings: TriangleSettings,
    seed: int,
    progress: Progress | None,
) -> LowPoly:
    """As many triangles as asked for; for an error as many as reach it, found by trying.

    From the union of the network, unless there is another start.
    """
    if network is not None:
        network = without_strays(without_idle_planes(network), cloud.points)
        start = outer_surface(network) if start is None else start
    assert start is not None
    for _ in range(ROUNDS):
        mesh = freed(start, count, cloud, settings, seed=seed, progress=progress)
        found = measured(network, cloud, surface=mesh)
        if goal.error is None:
            break
        missed = found.distance * _side(cloud) / goal.error
        if 0.93 < missed <= 1:
            break
        count = max(8, math.ceil(count * (1.03 * missed) ** 1.2))
    return found


def _to_faces(
    network: ConvexUnion,
    batches: BatchSource,
    cloud: PointCloud,
    faces: int,
    settings: ShapeSettings,
    topology: Topology | None,
    progress: Progress | None,
) -> ConvexUnion:
    """Shapes; what is still too much goes plane by plane, with a short shaping after each round."""
    goal = Goal(max(4, round(AIM * faces)))
    price = shape(network, batches, cloud, goal, settings, progress, topology=topology)
    short = _shorter(settings, 5)
    for _ in range(ROUNDS):
        surface = outer_surface(network)
        excess = surface.num_faces - faces
        if excess <= TOLERANCE * faces:
            break
        counts = torch.bincount(surface.face_planes, minlength=network.offsets.numel() + 6)
        network = without_least_planes(network, counts.numpy(), excess)
        price = shape(network, batches, cloud, goal, short, progress, price, topology)
    return network


def _to_error(
    network: ConvexUnion,
    batches: BatchSource,
    cloud: PointCloud,
    goal: Goal,
    settings: ShapeSettings,
    topology: Topology | None,
    progress: Progress | None,
) -> ConvexUnion:
    """Shapes, measures, and shapes shortly again for what is missing.

    In training the distance is one to tangent planes of the cloud, at random points: a little
    less than what is measured at the end.
    """
    assert goal.error is not None
    side = _side(cloud)
    aim = 0.95 * goal.error
    shape(network, batches, cloud, Goal(error=aim), settings, progress, topology=topology)
    short = _shorter(settings, 3)
    for _ in range(ROUNDS):
        reached = measured(network, cloud, 30_000).distance * side
        if 0.9 * goal.error < reached <= 0.99 * goal.error:
            break
        aim *= 0.96 * goal.error / reached
        shape(network, batches, cloud, Goal(error=aim), short, progress, topology=topology)
    return network


def _side(cloud: PointCloud) -> float:
    """Longest side of a cloud."""
    return float(np.ptp(cloud.points.numpy(), axis=0).max())


def _reference(cloud: PointCloud) -> Reference:
    assert cloud.reference is not None  # loading always attaches one
    return cloud.reference


def _scaled(steps: int, factor: float) -> int:
    return max(1, round(steps * factor))


def _moving(factor: float) -> TriangleSettings:
    """The usual settings with more or fewer steps."""
    usual = TriangleSettings()
    steps, last_steps = (_scaled(x, factor) for x in (usual.steps, usual.last_steps))
    return replace(usual, steps=steps, last_steps=last_steps)


def _shorter(settings: ShapeSettings, times: int) -> ShapeSettings:
    """For a shape that is nearly there: fewer steps, and smaller ones."""
    steps = max(1, settings.steps // times)
    return replace(settings, steps=steps, learning_rate=settings.learning_rate / 3, way=0.0)
