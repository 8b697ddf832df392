"""Write a mesh as a 3MF file, the format of 3D printing.

Not through trimesh: it needs two more packages for that, and names parts at random.
"""

import io
import os
import zipfile
from pathlib import Path

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.files import write_whole
from shapeopt.output.mesh_arrays import MeshArrays, mesh_arrays

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MODEL_FILE = "3D/3dmodel.model"
TYPES = (
    f'{HEAD}<Types xmlns="{PACKAGE}/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" '
    'ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
)
RELATIONS = (
    f'{HEAD}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rel0" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel" '
    f'Target="/{MODEL_FILE}"/></Relationships>'
)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # equal meshes make equal files


def write_3mf(surface: PolygonMesh, path: str | os.PathLike[str]) -> Path:
    """Write triangles to a 3MF file; no digit of a coordinate is lost.

    The format has units: one unit of the mesh counts as a millimetre.

    Args:
        surface: the surface; `surface.scaled_and_moved` changes its units.
        path: where to write. The file appears whole or not at all.

    Returns:
        The path written.

    Raises:
        InputError: the surface has no polygons (3MF cannot hold an empty mesh), is a polyline in
            2D, or has a vertex that is not finite.
        OSError: the file cannot be written.
    """
    mesh = mesh_arrays(surface)
    if len(mesh.sizes) == 0:
        raise InputError("The surface has no polygons: there is nothing to write as 3MF.")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in (
            ("[Content_Types].xml", TYPES),
            ("_rels/.rels", RELATIONS),
            (MODEL_FILE, _model(mesh)),
        ):
            part = zipfile.ZipInfo(name, LONG_AGO)
            archive.writestr(part, text, zipfile.ZIP_DEFLATED)
    return write_whole(path, packed.getvalue())


def _model(mesh: MeshArrays) -> str:
    vertices = (f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>\n' for x, y, z in mesh.vertices.tolist())
    triangles = (
        f'<triangle v1="{a}" v2="{b}" v3="{c}"/>\n' for a, b, c in mesh.triangle_vertices.tolist()
    )
    return (
        f'{HEAD}<model unit="millimeter" xml:lang="en" xmlns="{CORE}">\n'
        '<resources><object id="1" type="model"><mesh>\n'
        f"<vertices>\n{''.join(vertices)}</vertices>\n"
        f"<triangles>\n{''.join(triangles)}</triangles>\n"
        '</mesh></object></resources>\n<build><item objectid="1"/></build>\n</model>\n'
    )
