"""From the cells of a zero set to the surface: orientation, normals, and the gradient."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from shapeopt.complex.at_vertices import AtVertices
from shapeopt.complex.box import Box
from shapeopt.complex.differentiate import (
    active_gradients,
    affine_gradients,
    carries_gradient,
    differentiable_vertices,
)
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.complex.zero_set import ZeroSet
from shapeopt.extraction.collapse import has_extent, without_extent
from shapeopt.extraction.dissolve import without_flat_folds
from shapeopt.extraction.no_zero import no_zero_among
from shapeopt.extraction.orientation import oriented, settled_by_neighbours
from shapeopt.extraction.progress import Inconsistent
from shapeopt.mesh.polygons import runs_repeat
from shapeopt.mesh.safe_norm import unit
from shapeopt.networks.affine import AffineLayer, without_graph


class _RunsTwice(Inconsistent):
    """Two polygons run through their common edge in the same direction."""


def finish(
    layers: Sequence[AffineLayer],
    box: Box,
    found: ZeroSet,
    known_at: Callable[[ZeroSet], AtVertices] | None = None,
    *,
    all_folds: bool = False,
    compiled: bool = False,
    sums_in: torch.dtype = torch.float64,
) -> PolyhedralSurface:
    """The surface, with the graph of the layers.

    Args:
        layers: of the network; their graph goes on into vertices and normals.
        box: the domain, of size 1.
        found: the cells.
        known_at: gives what is known of the network at each vertex, if anything is.
        all_folds: keep the folds that do not bend f.
        compiled: by the compiled implementation where there is one, on a CPU.
        sums_in: dtype of the backward pass, see :func:`differentiable_vertices`.

    Raises:
        NoZero: if nothing has an extent beyond rounding.
        ExtractionError: if the cells do not make a surface: if it ends inside the box, or if two
            polygons run through their common edge in the same direction.
    """
    constant = without_graph(layers)
    everything = found
    found = without_extent(found, partial(_sharpness, constant, everything), compiled=compiled)
    if found.num_edges == 0:
        raise no_zero_among(constant, box, everything.vertices)
    try:
        found, gradients, normals = _oriented(layers, found, compiled, sums_in)
    except _RunsTwice:
        # The sides of a sheet without thickness, contracted, run twice between the same corners.
        found, gradients, normals = _oriented(layers, everything, compiled, sums_in)
    is_joined = None
    if not all_folds:
        flat = gradients.detach() if found.num_faces else _gradients_on_edges(constant, everything)
        dissolved = without_flat_folds(found, flat, compiled=compiled)
        if dissolved is not None:
            found, faces, is_joined = dissolved
            normals = normals[faces]
    vertices = found.vertices
    if carries_gradient(layers):
        signs, known = found.signs, known_at(found) if known_at else None
        where = signs.constraints, vertices, signs.vertex_zeros, signs.vertex_plus_bits, known
        vertices = differentiable_vertices(layers, box, *where, compiled=compiled, sums_in=sums_in)
    return PolyhedralSurface(
        vertices,
        found.edges,
        found.edge_faces,
        found.face_offsets,
        found.face_vertices,
        normals,
        found.signs,
        is_joined,
    )


def _oriented(
    layers: Sequence[AffineLayer], found: ZeroSet, compiled: bool, sums_in: torch.dtype
) -> tuple[ZeroSet, Float[Tensor, "f d"], Float[Tensor, "f d"]]:
    """The cells with their polygons' way round, checked, and the gradient of f on each polygon, on
    a cap the outward normal of the box plane; as it is, and of length 1."""
    cells = found.signs.constraints, found.signs.face_plus_bits
    gradients = found.slopes
    if gradients is None or carries_gradient(layers):
        gradients = affine_gradients(layers, *cells, compiled=compiled, sums_in=sums_in)
    if found.has_caps:
        gradients = _with_plane_normals(gradients, found.face_planes)
    normals = unit(gradients)
    if not found.is_oriented:
        corners = oriented(without_graph(layers), found, normals.detach(), compiled=compiled)
        found = replace(found, face_vertices=corners)
    faults = _faults(found, compiled)
    if faults[1] and not found.is_oriented:
        corners = settled_by_neighbours(found, normals.detach(), compiled=compiled)
        found = replace(found, face_vertices=corners)
        faults = _faults(found, compiled)
    _check(*faults)
    return replace(found, is_oriented=True), gradients, normals


def _gradients_on_edges(layers: Sequence[AffineLayer], found: ZeroSet) -> Float[Tensor, "e d"]:
    """In 2D, the gradient of f on each edge that has an extent.

    Given the cells as they were found: of vertices that fall together, the signs of the one that
    stays need not be those along its edges.
    """
    one, two = found.signs.vertex_plus_bits[found.edges[has_extent(found)]].unbind(1)
    return affine_gradients(layers, found.signs.constraints, one | two)


@torch.no_grad()
def _sharpness(
    layers: Sequence[AffineLayer], found: ZeroSet, vertices: Int64[Tensor, "n"]
) -> Float[Tensor, "n"]:
    """How far the equations of vertices are from being dependent: 1 at best, 0 at worst; and 1
    more for every box plane that a vertex lies on: what touches the box must go on to do so."""
    signs = found.signs
    zeros, plus_bits = signs.vertex_zeros[vertices].long(), signs.vertex_plus_bits[vertices]
    rows = active_gradients(layers, signs.constraints, zeros, plus_bits)
    sharpness = torch.linalg.det(unit(rows.flatten(0, 1)).view_as(rows)).abs().nan_to_num(0.0)
    return sharpness + (zeros >= signs.constraints.num_neurons).sum(dim=1)


def _with_plane_normals(
    gradients: Float[Tensor, "f d"], planes: Int64[Tensor, "f"]
) -> Float[Tensor, "f d"]:
    """The gradients of f; on a cap, the outward normal of the box plane instead."""
    side = (planes % 2 * 2 - 1).to(gradients.dtype)
    axis = planes.clamp(min=0) // 2
    axes = torch.eye(gradients.shape[1], dtype=gradients.dtype, device=gradients.device)
    return torch.where(planes[:, None] >= 0, side[:, None] * axes[axis], gradients)


def _check(ends_inside: bool, runs_twice: bool) -> None:
    """Raises ExtractionError for what is no surface: better no result than a wrong one."""
    if ends_inside:
        raise Inconsistent(
            "the surface ends inside the box, which the zero set of a continuous function cannot "
            "do: rounding decided a sign in two ways; please report the network"
        )
    if runs_twice:
        raise _RunsTwice(
            "two polygons run through their common edge in the same direction: rounding decided "
            "a sign in two ways; please report the network"
        )


def _faults(found: ZeroSet, compiled: bool) -> Sequence[bool]:
    """Whether the surface has a border that does not lie on the box, and whether polygons run
    through an edge twice in one direction."""
    polygons = found.face_vertices, found.face_offsets
    if compiled and found.vertices.shape[1] == 3:
        # Imported here, so that importing the package does not load the compiler.
        from shapeopt.extraction.polygons_compiled import ends_inside, repeats_a_run

        edges = found.edge_faces.numpy(), found.signs.edge_zeros.numpy()
        corners, offsets = (part.numpy() for part in polygons)
        return (
            ends_inside(*edges, found.signs.constraints.num_neurons),
            repeats_a_run(corners, offsets, found.num_vertices),
        )
    return torch.stack([_ends_inside(found), runs_repeat(*polygons, found.num_vertices)]).tolist()


def _ends_inside(found: ZeroSet) -> Bool[Tensor, ""]:
    num_neurons = found.signs.constraints.num_neurons
    if found.vertices.shape[1] == 2:
        ends = torch.bincount(found.edges.flatten(), minlength=found.num_vertices)
        at_box = (found.signs.vertex_zeros >= num_neurons).any(dim=1)
        return ((ends == 1) & ~at_box).any()
    at_box = (found.signs.edge_zeros >= num_neurons).any(dim=1)
    return ((found.edge_faces < 0).any(dim=1) & ~at_box).any()
