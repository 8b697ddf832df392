"""Awkward files through the readers of shapeopt and of other libraries.

    python -m experiments.reading.run

Writes results.md: what each file holds, and what each reader makes of it.
"""

import importlib
import multiprocessing
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.runs import markdown_table
from shapeopt.data import read_cloud
from shapeopt.data.formats import RawCloud, read_file
from tests.data.awkward import Case, Cloud, Refused, Solid, cases
from tests.data.test_awkward import outcome

HERE = Path(__file__).parent
SECONDS = 20  # a reader may take for a file
LIBRARIES = {
    "trimesh": ("obj", "ply", "off", "stl", "glb", "3mf", "xyz"),
    "meshio": ("obj", "ply", "off", "stl"),
    "pymeshlab": ("obj", "ply", "off", "stl", "glb", "3mf", "xyz", "txt", "pts", "asc"),
    "libigl": ("obj", "ply", "off", "stl"),
}
Outcome = Solid | Cloud | Refused


def main() -> None:
    for name in LIBRARIES:  # once, not in every process
        importlib.import_module("igl" if name == "libigl" else name)
    with tempfile.TemporaryDirectory() as folder:
        rows = [compared(case, Path(folder)) for case in cases()]
    (HERE / "results.md").write_text(report(rows), encoding="utf-8")


def compared(case: Case, folder: Path) -> dict[str, str]:
    """What each reader makes of a file, in words."""
    path = folder / f"file.{case.suffix}"
    path.write_bytes(case.data)
    told = f", columns={case.columns}" if case.columns else ""
    row = {"file": f".{case.suffix} {case.name}{told}", "holds": words(case.expected)}
    for name, read in READERS.items():
        if case.suffix in LIBRARIES.get(name, (case.suffix,)):
            row[name] = verdict(case.expected, isolated(read, path, case.columns))
        else:
            row[name] = ""
    return row


def verdict(expected: Outcome, got: Outcome) -> str:
    """ "right", "refused", or what came out in its place."""
    if isinstance(got, Refused):
        return "right" if isinstance(expected, Refused) else f"refused{got.words}"
    return "right" if got == expected else f"**{words(got)}**"


def words(outcome: Outcome) -> str:
    match outcome:
        case Solid(triangles, volume):
            return f"{triangles} triangles, volume {volume:g}"
        case Cloud(points, normals):
            return f"{points} points{' with normals' if normals else ''}"
    return "an error"


def isolated(
    read: Callable[[Path, str | None], RawCloud], path: Path, columns: str | None
) -> Outcome:
    """In a process of its own: some readers crash or never end."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, read, path, columns))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(SECONDS) else Refused(": no end")
    except EOFError:
        return Refused(": crash")
    finally:
        process.kill()
        process.join()


def _send(sender, read: Callable, path: Path, columns: str | None) -> None:
    warnings.simplefilter("ignore")
    try:
        sender.send(outcome(read(path, columns)))
    except BaseException:
        sender.send(Refused(""))


def by_shapeopt(path: Path, columns: str | None) -> RawCloud:
    read_cloud(path, 100, columns=columns)  # which checks the values, too
    return read_file(path, columns)


def by_trimesh(path: Path, columns: str | None) -> RawCloud:
    import trimesh

    geometry = trimesh.load(path, process=False)
    if isinstance(geometry, trimesh.Scene):
        geometry = geometry.to_mesh()
    return _raw(geometry.vertices, getattr(geometry, "faces", ()), None)


def by_meshio(path: Path, columns: str | None) -> RawCloud:
    import meshio

    mesh = meshio.read(path)
    fans = [
        cells.data[:, [0, i, i + 1]]
        for cells in mesh.cells
        if cells.type in ("triangle", "quad", "polygon")
        for i in range(1, cells.data.shape[1] - 1)
    ]
    names = ("nx", "ny", "nz")
    normals = None
    if set(names) <= set(mesh.point_data):
        normals = np.stack([mesh.point_data[name] for name in names], axis=1)
    return _raw(mesh.points, np.concatenate(fans) if fans else (), normals)


def by_pymeshlab(path: Path, columns: str | None) -> RawCloud:
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(str(path))
    points, faces, normals, count = [], [], [], 0
    for mesh in meshes:
        matrix = mesh.transform_matrix()
        points.append(mesh.vertex_matrix() @ matrix[:3, :3].T + matrix[:3, 3])
        faces.append(mesh.face_matrix() + count)
        normals.append(mesh.vertex_normal_matrix())
        count += mesh.vertex_number()
    return _raw(np.concatenate(points), np.concatenate(faces), np.concatenate(normals))


def by_libigl(path: Path, columns: str | None) -> RawCloud:
    import igl

    vertices, faces = igl.read_triangle_mesh(str(path))[:2]
    fans = [faces[:, [0, i, i + 1]] for i in range(1, faces.shape[1] - 1)]
    return _raw(vertices, np.concatenate(fans) if fans else (), None)


def _raw(vertices, faces, normals) -> RawCloud:
    """Whatever came, as shapeopt has it."""
    points = np.asarray(vertices, np.float64).reshape(-1, 3)
    triangles = np.asarray(faces, np.int64).reshape(-1, 3)
    if len(points) == 0:
        raise ValueError("nothing was read")
    if len(triangles):
        return RawCloud(points, mesh=(points, triangles))
    return RawCloud(points, None if normals is None else np.asarray(normals))


READERS: dict[str, Callable[[Path, str | None], RawCloud]] = {
    "shapeopt": by_shapeopt,
    "trimesh": by_trimesh,
    "meshio": by_meshio,
    "pymeshlab": by_pymeshlab,
    "libigl": by_libigl,
}


def report(rows: list[dict[str, str]]) -> str:
    """Counts by format, then every file."""
    table = [summary(rows, kind) for kind in dict.fromkeys(row["file"].split()[0] for row in rows)]
    return (
        f"# {len(rows)} awkward files\n\n"
        "Right / refused without need / silently wrong; in bold what came out then. Empty: a "
        "format that is not tried with this library.\n\n"
        f"{markdown_table(table)}\n{markdown_table(rows)}"
    )


def summary(rows: list[dict[str, str]], kind: str) -> dict[str, str]:
    """How a format's files went."""
    mine = [row for row in rows if row["file"].split()[0] == kind]
    entry = {"format": kind, "files": str(len(mine))}
    for name in READERS:
        counts = Counter(re.sub(r"^\*\*.*", "wrong", row[name]).split(":")[0] for row in mine)
        numbers = [counts[word] for word in ("right", "refused", "wrong")]
        entry[name] = " / ".join(map(str, numbers)) if any(numbers) else ""
    return entry


if __name__ == "__main__":
    main()
