"""A mesh in its files, and beside them what was checked of it."""

import json
from pathlib import Path

from shapeopt.extraction.certificate import SurfaceCertificate
from shapeopt.mesh.certificate import Certificate
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import write_mesh
from shapeopt.output.files import write_whole


def write_certified(
    mesh: PolygonMesh, certificate: SurfaceCertificate | Certificate, unit: float, *paths: Path
) -> Path:
    """Write a mesh, and its certificate, as JSON, beside it.

    Args:
        mesh: in the units of the files.
        certificate: of the surface that was extracted, or of a mesh made of it.
        unit: length of one unit of that surface in those of the files.
        paths: one file, or several that differ in their suffixes; each is a format, see
            :func:`shapeopt.output.export.write_mesh`.

    Returns:
        The path of the certificate: the name of the file, or what several have in common, and
        ``.certificate.json``.

    Raises:
        InputError: as :func:`shapeopt.output.export.write_mesh`.
        OSError: a file cannot be written; names it.
    """
    # The whole name of a file: another mesh may have the same one with another suffix.
    name = paths[0].name if len(paths) == 1 else paths[0].stem
    beside = paths[0].with_name(f"{name}.certificate.json")
    # Interrupted half way, a new mesh must not stand beside the certificate of an old one.
    beside.unlink(missing_ok=True)
    for path in paths:
        write_mesh(mesh, path)
    return write_whole(beside, json.dumps(certificate.as_dict(unit), indent=1).encode())
