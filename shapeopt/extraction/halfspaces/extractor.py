"""From a union of convex parts to its exact surface, without looking at space."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shapeopt.complex.box import Bounds, Box
from shapeopt.errors import EmptySurfaceError, ExtractionError, InputError
from shapeopt.extraction.halfspaces.arrangement import borders_of
from shapeopt.extraction.halfspaces.clipping import EMPTY, clipped
from shapeopt.extraction.halfspaces.polygons import Faces, faces_of, faces_within
from shapeopt.extraction.halfspaces.polytope import Polytope, polytope
from shapeopt.extraction.halfspaces.surface import (
    UnionSurface,
    differentiable_meetings,
    meeting_planes,
)
from shapeopt.extraction.halfspaces.union import union_of
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.networks.convex_union import ConvexUnion

Method = Literal["auto", "edges", "boolean"]


@dataclass
class HalfSpaces:
    """Extracts the exact surface of a :class:`ConvexUnion`: half-spaces, then a boolean union.

    It is that of the exact max and min, whatever the network's ``sharpness``.

    Called again for the same network it starts from the inner points of its parts, which changes
    nothing but the time.

    Attributes:
        bounds: lower and upper corner of the domain. What of the solid would leave it is cut off
            there, and the surface closed with faces in its border.
        damping: of the gradient, see :func:`differentiable_meetings`; 0 is exact.
        method: ``"edges"`` finds what of each edge shows, ``"boolean"`` has a boolean library unite
            the parts; ``"auto"`` is the first, two to four times as fast, and the second where
            places are too close to one another.
    """

    bounds: Bounds = (-0.5, 0.5)
    damping: float = 0.0
    method: Method = "auto"
    _centres: dict[int, Float[np.ndarray, "3"]] = field(default_factory=dict, repr=False)

    def __call__(self, network: nn.Module) -> UnionSurface:
        """The surface in float64, on the CPU, with the graph of the network's planes.

        Raises:
            InputError: if the network is of another kind or has planes that are not finite, and if
                manifold3d is not installed.
            EmptySurfaceError: if no part has an inside.
            ExtractionError: if the union cannot be built.
        """
        planes = Planes.of(network, self.bounds)
        return self._surface(planes, range(planes.num_parts))

    def part_surfaces(self, network: nn.Module) -> dict[int, UnionSurface]:
        """Each convex part that has an inside as a closed surface of its own, by number.

        Raises:
            InputError, ExtractionError: as above.
        """
        planes = Planes.of(network, self.bounds)
        return {part: self._surface(planes, [part]) for part in self.parts(planes)}

    def _surface(self, planes: "Planes", chosen: Sequence[int]) -> UnionSurface:
        built = _from_borders(planes, chosen) if self.method != "boolean" else None
        if built is None and self.method == "edges":
            raise ExtractionError("places on an edge are too close to one another to be decided")
        if built is None:
            built = self._from_boolean(planes, chosen)
        return _assembled(*built, planes, self.damping)

    def _from_boolean(self, planes: "Planes", chosen: Sequence[int]) -> "Built":
        parts = {k: solid for k, solid in self.parts(planes).items() if k in chosen}
        if not parts:
            raise EmptySurfaceError("no convex part has an inside in the box: there is no surface")
        mesh = union_of(list(parts.values()), [planes.names_of(part) for part in parts])
        if not len(mesh.triangles):
            raise EmptySurfaceError("the union of the convex parts has no inside in the box")
        faces = faces_of(mesh, planes.constant_normals)
        count = len(planes.same)
        pairs = np.unique(mesh.triangles.flatten() * count + np.repeat(mesh.planes, 3))
        pairs = np.stack([pairs // count, pairs % count], axis=1)
        triples = meeting_planes(pairs, planes.constant_normals, len(mesh.vertices))
        return Built(mesh.vertices, triples, faces)

    def parts(self, planes: "Planes") -> dict[int, Polytope]:
        """The convex parts that have an inside, by number."""
        found = {}
        for part in range(planes.num_parts):
            names = planes.rows_of(part)
            solid = polytope(
                planes.constant_normals[names],
                planes.constant_offsets[names],
                self._centres.get(part),
            )
            if solid is not None:
                found[part] = solid
                self._centres[part] = solid.centre
        return found


@dataclass(frozen=True)
class Planes:
    """All planes of a network in one list, and then those of the domain's border.

    Attributes:
        normals, offsets: n . x <= d inside, n of unit length; float64, CPU, with graph.
        constant_normals, constant_offsets: the same without.
        same: for each plane the first that is equal to it, so that parts with a common plane have
            a common face.
        exists: whether there is a plane at each place.
        num_parts: of the network.
    """

    normals: Float[Tensor, "n 3"]
    offsets: Float[Tensor, "n"]
    constant_normals: Float[np.ndarray, "n 3"]
    constant_offsets: Float[np.ndarray, "n"]
    same: Int[np.ndarray, "n"]
    exists: np.ndarray
    num_parts: int

    @staticmethod
    def of(network: nn.Module, bounds: Bounds) -> "Planes":
        """Reads them of a network.

        Raises:
            InputError: see :class:`HalfSpaces`.
        """
        if not isinstance(network, ConvexUnion):
            raise InputError(
                f"half-spaces are read of a ConvexUnion, not of a {type(network).__name__}; "
                "use shapeopt.extract_surface for other networks"
            )
        unit_normals, unit_offsets = network.unit_planes()
        box = Box.from_bounds(bounds, 3, torch.float64, torch.device("cpu"))
        axes = torch.eye(3, dtype=torch.float64)
        normals = torch.cat([unit_normals.reshape(-1, 3).double().cpu(), axes, -axes])
        offsets = torch.cat([unit_offsets.reshape(-1).double().cpu(), box.upper, -box.lower])
        rows = torch.cat([normals, offsets[:, None]], dim=1).detach().numpy()
        if not np.isfinite(rows).all():
            raise InputError("the network has planes that are NaN or infinite: training diverged")
        _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        own = network.is_plane.cpu().numpy().flatten()
        return Planes(
            normals,
            offsets,
            rows[:, :3],
            rows[:, 3],
            first[group.flatten()],
            np.concatenate([own, np.ones(6, dtype=bool)]),
            len(network.planes),
        )

    def rows_of(self, part: int) -> Int[np.ndarray, "p"]:
        """The planes of a part and of the border."""
        own = np.arange(len(self.same) - 6).reshape(self.num_parts, -1)[part]
        rows = np.concatenate([own, np.arange(len(self.same) - 6, len(self.same))])
        return rows[self.exists[rows]]

    def names_of(self, part: int) -> Int[np.ndarray, "p"]:
        """One number for equal planes."""
        return self.same[self.rows_of(part)]


class Built(NamedTuple):
    """Vertices, three planes that meet in each, and faces."""

    vertices: Float[np.ndarray, "v 3"]
    triples: Int[np.ndarray, "v 3"]
    faces: Faces


def _from_borders(planes: Planes, chosen: Sequence[int]) -> Built | None:
    """The surface edge by edge; None where that cannot be decided."""
    parts = []
    for part in chosen:
        rows = planes.rows_of(part)
        state, own = clipped(planes.constant_normals[rows], planes.constant_offsets[rows])
        if state == EMPTY:
            continue
        if own is None:
            return None
        faces = rows[own.faces]
        # A plane of two parts, or of the box, would have faces that lie on one another.
        if (planes.same[faces] != faces).any() or faces.max() >= len(planes.same) - 6:
            return None
        parts.append(own._replace(planes=rows[own.planes], faces=faces))
    if not parts:
        return None
    borders = borders_of(parts, planes.constant_normals, planes.constant_offsets)
    if borders is None:
        return None
    faces = faces_within(borders, planes.constant_normals)
    return Built(borders.vertices, borders.triples, faces)


def _assembled(
    points: Float[np.ndarray, "v 3"],
    triples: Int[np.ndarray, "v 3"],
    faces: Faces,
    planes: Planes,
    damping: float,
) -> UnionSurface:
    """The mesh of the polygons, its vertices recomputed from their planes."""
    used, place = np.unique([v for loop in faces.loops for v in loop], return_inverse=True)
    corners = iter(place.tolist())
    loops = [list(islice(corners, len(loop))) for loop in faces.loops]
    vertices = differentiable_meetings(
        torch.from_numpy(points[used]),
        planes.normals,
        planes.offsets,
        torch.from_numpy(triples[used]),
        damping,
    )
    of_face = torch.tensor(faces.planes)
    flat = _connected(vertices, loops)
    parts = {part.name: getattr(flat, part.name) for part in fields(flat)}
    parts |= {"face_normals": planes.normals[of_face]}
    return UnionSurface(**parts, face_planes=of_face, num_split=faces.split)


def _connected(vertices: Float[Tensor, "v 3"], loops: Sequence[Sequence[int]]) -> PolygonMesh:
    try:
        mesh = PolygonMesh.from_polygons(vertices, loops)
    except InputError as error:
        raise ExtractionError(f"the faces of the union cannot be told apart: {error}") from error
    if not mesh.is_closed:
        raise ExtractionError("the surface of the union is not closed; please report the network")
    return mesh
