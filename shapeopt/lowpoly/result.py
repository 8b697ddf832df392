"""What comes out: the outer surface, and the convex parts by themselves."""

from dataclasses import fields

import torch
from torch import Tensor

from shapeopt.extraction.halfspaces import UnionSurface
from shapeopt.mesh.components import connected
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.polygons import vector_areas


@torch.no_grad()
def without_cavities(surface: UnionSurface) -> UnionSurface:
    """The surface without components that have their outside within: hollows between the parts."""
    label = connected(surface.num_faces, surface.edge_faces)
    areas = vector_areas(surface.vertices, surface.face_vertices, surface.face_offsets)
    corner = surface.vertices[surface.face_vertices[surface.face_offsets[:-1]]]
    volumes = torch.zeros(surface.num_faces, dtype=areas.dtype)
    volumes = volumes.index_add(0, label, (corner * areas).sum(dim=1))
    kept = volumes[label] > 0
    return surface if bool(kept.all()) else _chosen(surface, kept)


def _chosen(surface: UnionSurface, kept: Tensor) -> UnionSurface:
    """Some of the polygons, with the vertices that they use."""
    loops = surface.face_vertices.split(surface.face_offsets.diff().tolist())
    chosen = [loop for loop, keep in zip(loops, kept.tolist(), strict=True) if keep]
    used, place = torch.unique(torch.cat(chosen), return_inverse=True)
    polygons = [part.tolist() for part in place.split([len(loop) for loop in chosen])]
    flat = PolygonMesh.from_polygons(surface.vertices[used], polygons)
    parts = {field.name: getattr(flat, field.name) for field in fields(flat)}
    return UnionSurface(
        **parts | {"face_normals": surface.face_normals[kept]},
        face_planes=surface.face_planes[kept],
        num_split=surface.num_split,
    )
