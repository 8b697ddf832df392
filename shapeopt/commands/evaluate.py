"""Measures a result against the truth: ``shapeopt evaluate mesh.ply truth.obj``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.data.loading import load
from shapeopt.data.normalisation import Normalisation
from shapeopt.data.reading import read_cloud
from shapeopt.data.reference import MeshReference, Reference
from shapeopt.errors import ExtractionError, InputError
from shapeopt.evaluation.measures import DISTANCES, evaluate
from shapeopt.training.checkpoints import extract_checkpoint

THRESHOLD = 0.01  # of the F-score, longest sides of the ground truth
EXPLANATIONS = {
    "distance": "mean of the next two",
    "distance_to_truth": "mean, from the surface to the truth",
    "distance_from_truth": "mean, from the truth to the surface",
    "hausdorff": "largest, both ways",
    "normal_consistency": "mean |cos| between normals, both ways; 1 is best",
    "precision": f"fraction of the surface within {THRESHOLD} of the truth",
    "recall": f"fraction of the truth within {THRESHOLD} of the surface",
    "f_score": "harmonic mean of the two",
}


@dataclass(frozen=True)
class Mesh:
    """Triangles in the units of a file, and what they are."""

    vertices: Float[Tensor, "v 3"]
    faces: Int64[Tensor, "t 3"]
    kind: str

    def triangles(self) -> Int64[Tensor, "t 3"]:
        """What :func:`shapeopt.evaluation.evaluate` asks a surface for."""
        return self.faces


@dataclass(frozen=True)
class Truth:
    """What to measure against, scaled to a longest side of 1 and centred.

    Attributes:
        reference: in scaled units.
        normalisation: from the file's units to these.
        kind: what the file holds.
    """

    reference: Reference
    normalisation: Normalisation
    kind: str

    @property
    def side(self) -> float:
        """Longest side of its box, in the file's units."""
        return 1 / self.normalisation.scale


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints all measures; errors that a user can mend end it with exit code 1 and one line."""
    parser = argparse.ArgumentParser(
        prog="shapeopt evaluate",
        description="Measures a mesh or the surface of a checkpoint against the true surface. "
        "Both are sampled uniformly in area; distances from the samples are exact. Lengths are "
        "in units of the longest side of GROUND_TRUTH.",
    )
    parser.add_argument("surface", metavar="MESH_OR_CHECKPOINT", type=Path)
    parser.add_argument("truth", metavar="GROUND_TRUTH", type=Path, help="mesh or point cloud")
    parser.add_argument("--samples", type=int, default=100_000, help="per surface")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        if options.samples < 1:
            raise InputError(f"--samples is {options.samples}; it must be at least 1")
        truth = read_truth(options.truth)
        mesh = read_surface(options.surface)
    except (InputError, ExtractionError, OSError) as error:
        sys.exit(f"error: {error}")
    moved = Mesh(truth.normalisation.apply(mesh.vertices), mesh.faces, mesh.kind)
    result = evaluate(moved, truth.reference, options.samples, options.seed, THRESHOLD)
    if options.json:
        print(json.dumps(result | {"unit": truth.side, "triangles": len(mesh.faces)}))
        return
    print(f"surface       {options.surface}: {mesh.kind}")
    print(f"ground truth  {options.truth}: {truth.kind}")
    print(
        f"Measured in the ground truth's coordinates, centred, its longest side ({truth.side:.6g}) "
        f"scaled to 1;\n{options.samples:,} samples of each, seed {options.seed}.\n"
    )
    for name, value in result.items():
        number = f"{value:.4e}" if name in DISTANCES else f"{value:.4f}"
        print(f"{name:<20} {number:>10}  {EXPLANATIONS[name]}")


def read_truth(path: Path) -> Truth:
    """The true surface: the mesh itself, the formula a cloud was drawn from, or the cloud.

    Raises:
        InputError: the message says what is wrong with the file.
    """
    raw = read_cloud(path, mesh_samples=4)  # it is the mesh itself that is wanted
    if raw.mesh is None:
        cloud = load(path, margin=0.0)
        assert cloud.reference is not None  # load always attaches one
        kind = f"cloud of {len(cloud.points):,} points"
        return Truth(cloud.reference, cloud.normalisation, kind)
    vertices, faces = raw.mesh
    used = vertices[faces]
    low, high = used.min(axis=(0, 1)), used.max(axis=(0, 1))
    center, side = (low + high) / 2, float((high - low).max())
    normalisation = Normalisation(torch.from_numpy(center), 1 / side)
    reference = MeshReference(normalisation.apply(torch.from_numpy(vertices)).numpy(), faces)
    return Truth(reference, normalisation, f"{len(faces):,} triangles")


def read_surface(path: Path) -> Mesh:
    """The surface of a checkpoint (.pt), or a mesh of any kind that trimesh reads.

    Raises:
        InputError: the message says what is wrong with the file.
        ExtractionError: if a checkpoint's surface cannot be extracted.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file (looked in {path.resolve().parent})")
    if path.suffix == ".pt":
        return _checkpoint_surface(path)
    vertices, faces = _mesh_arrays(path)
    if len(faces) == 0:
        raise InputError(f"{path}: holds no faces; a surface to be measured must be a mesh")
    if not np.isfinite(vertices[faces]).all():
        raise InputError(f"{path}: some vertices are NaN or infinite")
    if not MeshReference(vertices, faces).triangle_normals().any():
        raise InputError(f"{path}: all {len(faces)} triangles of the mesh have no area")
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces), f"{len(faces):,} triangles")


def _mesh_arrays(path: Path) -> tuple[Float[np.ndarray, "v 3"], Any]:
    import trimesh

    try:
        geometry: Any = trimesh.load(path, process=False)
        if isinstance(geometry, trimesh.Scene):
            geometry = geometry.to_mesh()
        vertices = np.array(geometry.vertices, dtype=np.float64).reshape(-1, 3)
        return vertices, np.array(getattr(geometry, "faces", ()), np.int64).reshape(-1, 3)
    except Exception as error:  # trimesh lets through whatever its parsers stumble over
        raise InputError(f"{path}: cannot be read as a mesh ({error})") from error


def _checkpoint_surface(path: Path) -> Mesh:
    """The exact surface of a checkpoint's network, in the units of its input."""
    surface, checkpoint = extract_checkpoint(path)
    vertices = checkpoint.normalisation.undo(surface.vertices.cpu())
    kind = f"checkpoint at step {checkpoint.step:,}, {surface.num_faces:,} polygons"
    return Mesh(vertices, surface.triangles().cpu(), kind)


if __name__ == "__main__":
    main()
