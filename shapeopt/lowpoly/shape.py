"""The shape phase: the exact surface comes nearer to the cloud while faces vanish."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from shapeopt.data.cloud import PointCloud
from shapeopt.errors import InputError
from shapeopt.extraction.halfspaces import HalfSpaces, UnionSurface
from shapeopt.losses.small_faces import SmallFaces
from shapeopt.losses.surface_distance import SurfaceDistance
from shapeopt.losses.topology import Topology
from shapeopt.lowpoly.fit import Progress, learning_rate_at
from shapeopt.lowpoly.regression import regress
from shapeopt.networks.convex_union import ConvexUnion
from shapeopt.training.batches import BatchSource


@dataclass(frozen=True)
class Goal:
    """What is asked for: a number of faces, or a distance. One of them.

    Attributes:
        faces: polygons of the surface.
        error: mean distance between surface and cloud, both ways, box lengths.
    """

    faces: int | None = None
    error: float | None = None

    def __post_init__(self) -> None:
        if (self.faces is None) == (self.error is None):
            raise InputError("give either a number of faces or an error, not both")
        if self.faces is not None and self.faces < 4:
            raise InputError(f"faces is {self.faces}; a solid has at least 4")
        if self.error is not None and not (math.isfinite(self.error) and self.error > 0):
            raise InputError(f"error is {self.error}; it must be a positive length")


@dataclass(frozen=True)
class ShapeSettings:
    """How the shape phase goes.

    Attributes:
        steps: of Adam.
        learning_rate: largest; a cosine takes it to almost nothing.
        samples: points drawn on the surface in every step.
        small_area: of a face that counts half, as a multiple of the mean area of a face when the
            goal is reached.
        damping: of gradients where planes are nearly parallel, see :class:`HalfSpaces`.
        fit_weight, near: of the regression to signed distances that keeps hidden planes in place.
        way: fraction of the steps in which the number of faces comes to the goal.
        start_price: of a face, see :class:`FaceControl`.
        gain: of the control, per step.
    """

    steps: int = 400
    learning_rate: float = 2e-2
    samples: int = 5000
    small_area: float = 0.1
    damping: float = 0.05
    fit_weight: float = 0.2
    near: float = 0.02
    way: float = 0.4
    start_price: float = 0.5
    gain: float = 0.2


class FaceControl:
    """Finds the price of a face at which the goal is reached.

    The price p weighs the relaxed number of faces against the distance. Distances fall about as
    1 / faces, so near the goal a face is worth distance / faces; p starts at ``start_price`` of
    that, times the factors of two by which there are too many faces. What is wanted moves from the
    number of faces at the start to the goal, by the same factor in every step of the way; p rises
    by the factor ``(faces / wanted)^gain`` in each step while there are too many, and falls while
    there are too few. For an error it is the other way round.

    A price that was found before is where it goes on from.
    """

    def __init__(self, goal: Goal, settings: ShapeSettings, price: float | None = None):
        self.goal, self.settings = goal, settings
        self.price = price or 0.0
        self.distance = 0.0
        self._natural = 0.0
        self._start = 0

    def update(self, done: float, faces: int, distance: float) -> None:
        """Takes note of a step.

        Args:
            done: fraction of the steps.
            faces, distance: of the surface in this step.
        """
        if not self._start:
            self._natural = distance / (self.goal.faces or faces)
            self._start = faces
            self.distance = distance
            excess = math.log2(faces / self.goal.faces) if self.goal.faces else 1.0
            start = self.settings.start_price * self._natural * max(0.02, min(1.0, excess))
            self.price = self.price or start
        self.distance += 0.1 * (distance - self.distance)
        way = min(1.0, done / self.settings.way) if self.settings.way else 1.0
        if self.goal.faces is not None:
            wanted = self._start * (self.goal.faces / self._start) ** way
            excess = math.log(faces / wanted)
        else:
            assert self.goal.error is not None
            excess = math.log(self.goal.error / self.distance)
        self.price *= math.exp(self.settings.gain * max(-1.0, min(1.0, excess)))
        self.price = min(max(self.price, 1e-3 * self._natural), 1e2 * self._natural)


def shape(
    network: ConvexUnion,
    batches: BatchSource,
    cloud: PointCloud,
    goal: Goal,
    settings: ShapeSettings | None = None,
    progress: Progress | None = None,
    price: float | None = None,
    topology: Topology | None = None,
) -> float:
    """Moves the planes so that the exact surface reaches the goal.

    Returns the price of a face at the end.

    Args:
        network: changed in place; hard, float32, on the CPU.
        batches, cloud: of the shape.
        goal: faces or distance.
        settings: the defaults if None.
        progress: called now and then.
        price: of a face, to start from; None for that of a start.
        topology: of the shape, if that is known.

    Raises:
        EmptySurfaceError: if the network has no surface.
        ExtractionError: if its surface cannot be built.
    """
    chosen = settings or ShapeSettings()
    extract = HalfSpaces(damping=chosen.damping)
    surface_distance = SurfaceDistance(1.0, samples=chosen.samples)
    control = FaceControl(goal, chosen, price)
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(chosen.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, chosen.steps, chosen.learning_rate, 20)
        surface = extract(network)
        batch = batches.batch(network, step)
        distance = surface_distance(surface, batch, cloud)
        control.update(step / chosen.steps, surface.num_faces, float(distance.detach()))
        count = SmallFaces(1.0, area=_half_area(surface, goal, chosen))(surface)
        loss = distance + control.price * count
        if topology is not None:
            loss = loss + topology.weight * topology(surface)
        optimizer.zero_grad()
        loss.backward()
        points, distances = batch.space_points, batch.space_distances
        regress(network, points, distances, chosen.near, weight=chosen.fit_weight)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if progress and step % 10 == 0:
            words = f"shaping: {surface.num_faces:,} faces, distance {control.distance:.2e}"
            progress(words, step, chosen.steps)
    return control.price


def _half_area(surface: UnionSurface, goal: Goal, settings: ShapeSettings) -> float:
    faces = goal.faces or surface.num_faces
    return settings.small_area * float(surface.area().detach()) / faces
