"""A scan with few faces: ``shapeopt lowpoly SCAN --faces 500 -o out.obj``."""

import re
import sys
from contextlib import ExitStack
from pathlib import Path

import torch
from tqdm import tqdm

from shapeopt.data.cloud import PointCloud
from shapeopt.data.loading import load
from shapeopt.errors import InputError
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.extraction.halfspaces.union import manifold_library
from shapeopt.lowpoly.search import TOLERANCE, LowPoly, find
from shapeopt.mesh.certificate import certify
from shapeopt.output.export import check_suffix, pieces_note, write_mesh
from shapeopt.output.grouped_obj import write_grouped_obj
from shapeopt.output.physics import write_convex_parts
from shapeopt.output.terminal import show
from shapeopt.output.waiting import told

MOST_POLYGONS = 1100
"""More than came out for any of five shapes, with 1,000 and 3,000 asked for."""
PREPARING = "looking at the scan ..."
BETWEEN = "building the surface, and measuring its distance to the scan ..."


def run(
    scan: Path,
    output: Path,
    faces: int | None = None,
    error: float | None = None,
    *,
    parts: int | None = None,
    triangles: bool = False,
    convex: Path | None = None,
    seed: int = 0,
    effort: float = 1.0,
) -> None:
    """Finds the shape, writes it and says what it is.

    Args:
        scan: mesh or cloud, see :func:`shapeopt.data.load`.
        output: the mesh; its suffix is the format. OBJ has a group for each convex part.
        faces: polygons to have; or
        error: mean distance to reach, fraction of the longest side.
        parts: convex parts to start with; as many as suit the faces if None.
        triangles: make triangles whose vertices move freely; ``faces`` is their number.
        convex: folder for the convex parts, with URDF and MJCF; None for none.
        seed: of everything random.
        effort: factor on the number of steps.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if a surface cannot be built.
        OSError: if a file cannot be written.
    """
    check_suffix(output)
    manifold_library()
    _check(error, effort)
    _tell_of_limit(0 if triangles else faces or 0)
    with told(f"reading {scan} ..."):
        cloud = load(scan, seed=seed)
    with _Bar() as bar:
        found = find(
            cloud,
            faces,
            error,
            parts=parts,
            triangles=triangles,
            convex=convex is not None,
            seed=seed,
            steps=effort,
            progress=bar.update,
        )
    _write(found, cloud, output)
    if convex is not None:
        assert found.network is not None
        with torch.no_grad():
            solids = HalfSpaces().part_surfaces(found.network)
        undone = [cloud.normalisation.undo_mesh(solid) for solid in solids.values()]
        write_convex_parts(undone, convex, re.sub(r"[^A-Za-z0-9_.-]+", "_", scan.stem))
    for line in report(found, faces, error):
        show(line)
    if note := pieces_note(found.surface, output):
        show(note)
    show(f"in {output}" + (f", its convex parts in {convex}" if convex is not None else ""))


def _check(error: float | None, effort: float) -> None:
    if not effort > 0:
        raise InputError(f"--effort is {effort}; it must be positive")
    if error is not None and not error > 0:
        raise InputError(f"--error is {error:g}; it must be a fraction of the longest side")


def _tell_of_limit(polygons: int) -> None:
    if polygons > MOST_POLYGONS:
        show(
            f"{polygons:,} faces: planes of convex parts have not come to {MOST_POLYGONS:,} on any "
            "shape tried; --triangles makes as many as asked for"
        )


def report(found: LowPoly, faces: int | None, error: float | None) -> list[str]:
    """What was found, and whether that is what was asked for."""
    surface, checked = found.surface, certify(found.surface)
    count = len(surface.triangles())
    if surface is found.union:
        visible = len(set(_parts_of(found)))
        what = f"{surface.num_faces:,} polygons ({count:,} triangles) of {visible} convex parts"
    else:
        what = f"{count:,} triangles"
    lines = [
        f"{what}, mean distance {found.distance:.2e}, largest "
        f"{found.measures['hausdorff']:.2e} of the longest side",
        checked.summary(),
    ]
    if surface is found.union and found.union.num_split:
        lines.append(f"{found.union.num_split} faces with holes were cut into simple polygons")
    if faces is not None and abs(surface.num_faces - faces) > TOLERANCE * faces:
        lines.append(_missed_faces(surface.num_faces, faces, surface is found.union))
    if error is not None and found.distance > error:
        parts = "parts with --parts, or more " if surface is found.union else ""
        lines.append(
            f"an error of {error:g} was asked for and not reached: give more {parts}steps with "
            "--effort"
        )
    return lines


def _missed_faces(got: int, wanted: int, of_parts: bool) -> str:
    if not of_parts:
        return f"{wanted:,} triangles were asked for: fewer than {got:,} would touch themselves"
    if got < wanted:
        return (
            f"{wanted:,} faces were asked for: {got:,} is what those planes of convex parts make "
            "that bring something at this distance; --triangles makes as many as asked for"
        )
    return (
        f"{wanted:,} faces were asked for and not reached: every plane that is left closes a part; "
        "ask for fewer parts with --parts"
    )


def _parts_of(found: LowPoly) -> list[int]:
    """The convex part that each polygon of the union belongs to; -1 in the border of the box."""
    assert found.network is not None
    assert found.union is not None
    parts, planes, _ = found.network.planes.shape
    own = found.union.face_planes // planes
    return torch.where(own < parts, own, -1).tolist()


def _write(found: LowPoly, cloud: PointCloud, output: Path) -> None:
    mesh = cloud.normalisation.undo_mesh(found.surface)
    if output.suffix.lower() != ".obj" or found.surface is not found.union:
        write_mesh(mesh, output)
        return
    names = ["border" if part < 0 else f"part_{part:03d}" for part in _parts_of(found)]
    write_grouped_obj(mesh, names, output)


class _Bar:
    """Progress of phases of different lengths on one line; what comes between them is told."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._quiet = ExitStack()

    def __enter__(self) -> "_Bar":
        self._tell(PREPARING)
        return self

    def __exit__(self, *error: object) -> None:
        self._quiet.close()
        if self._bar is not None:
            if error[0] is None:
                self._fill(self._bar)
            self._bar.close()

    def update(self, words: str, step: int, steps: int) -> None:
        """Shows how far a phase is, and that it has begun where the step is 0."""
        self._quiet.close()
        if self._bar is None:
            self._bar = tqdm(total=steps, unit="step", mininterval=0.5, file=sys.stderr)
        elif step == 0:
            self._fill(self._bar)
            self._bar.reset(steps)
        since = step - self._bar.n
        self._bar.set_description(words, refresh=False)
        self._bar.update(since)
        if step + since >= steps:  # nothing is heard of its last steps
            self._tell(BETWEEN)

    def _tell(self, words: str) -> None:
        self._quiet.enter_context(told(words))

    @staticmethod
    def _fill(bar: tqdm) -> None:
        bar.update(bar.total - bar.n)
        bar.refresh()
