"""Convex parts for physics engines: a folder of OBJ files, with URDF and MJCF that use them."""

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.export import write_obj
from shapeopt.output.files import write_whole


def write_convex_parts(
    parts: Sequence[PolygonMesh], folder: str | os.PathLike[str], name: str
) -> list[Path]:
    """Write each part as ``NAME_000.obj`` and so on, with ``NAME.urdf`` and ``NAME.xml`` (MJCF).

    Both have one body with a collision shape for each part. URDF has no unit but the metre: the
    numbers of the input are taken for metres. Masses are left to the user; MJCF works them out
    from its density, and counts twice where parts overlap.

    Args:
        parts: closed and convex.
        folder: made if it is not there.
        name: of files and body.

    Returns:
        The paths written.

    Raises:
        InputError: a vertex is not finite.
        OSError: a file cannot be written.
    """
    target = Path(folder)
    files = [f"{name}_{i:03d}.obj" for i in range(len(parts))]
    written = [write_obj(part, target / file) for part, file in zip(parts, files, strict=True)]
    for suffix, tree in ((".urdf", _urdf(name, files)), (".xml", _mjcf(name, files))):
        ElementTree.indent(tree)
        text = ElementTree.tostring(tree, encoding="unicode") + "\n"
        written.append(write_whole(target / f"{name}{suffix}", text.encode()))
    return written


def _urdf(name: str, files: Sequence[str]) -> ElementTree.Element:
    robot = ElementTree.Element("robot", name=name)
    link = ElementTree.SubElement(robot, "link", name=name)
    for file in files:
        for kind in ("visual", "collision"):
            geometry = ElementTree.SubElement(ElementTree.SubElement(link, kind), "geometry")
            ElementTree.SubElement(geometry, "mesh", filename=file)
    return robot


def _mjcf(name: str, files: Sequence[str]) -> ElementTree.Element:
    root = ElementTree.Element("mujoco", model=name)
    asset = ElementTree.SubElement(root, "asset")
    body = ElementTree.SubElement(ElementTree.SubElement(root, "worldbody"), "body", name=name)
    for file in files:
        mesh = Path(file).stem
        ElementTree.SubElement(asset, "mesh", name=mesh, file=file)
        ElementTree.SubElement(body, "geom", type="mesh", mesh=mesh)
    return root
