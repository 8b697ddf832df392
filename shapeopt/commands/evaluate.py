"""Measures a result against the truth: ``shapeopt evaluate mesh.ply truth.obj``."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.data.loading import load
from shapeopt.data.normalisation import Normalisation
from shapeopt.data.reading import read_cloud, read_mesh
from shapeopt.data.reference import MeshReference, Reference
from shapeopt.errors import InputError
from shapeopt.evaluation.measures import DISTANCES, evaluate
from shapeopt.output.terminal import show
from shapeopt.output.waiting import EXTRACTING, told
from shapeopt.shipped import find_file
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


def run(
    surface: Path, truth: Path, samples: int = 100_000, seed: int = 0, as_json: bool = False
) -> None:
    """Measures and prints.

    Args:
        surface: a mesh, or a checkpoint (.pt).
        truth: a mesh or cloud.
        samples: points drawn from each.
        seed: of the points drawn.
        as_json: print one JSON object in place of a table.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if a checkpoint's surface cannot be extracted.
    """
    if samples < 1:
        raise InputError(f"--samples is {samples}; it must be at least 1")
    with told(f"reading {truth} ..."):
        true = read_truth(truth)
    mesh = read_surface(surface)
    moved = Mesh(true.normalisation.apply(mesh.vertices), mesh.faces, mesh.kind)
    with told(f"measuring with {samples:,} samples of each ..."):
        result = evaluate(moved, true.reference, samples, seed, THRESHOLD)
    if as_json:
        show(json.dumps(result | {"unit": true.side, "triangles": len(mesh.faces)}))
        return
    show(f"surface       {surface}: {mesh.kind}")
    show(f"ground truth  {truth}: {true.kind}")
    show(
        f"Measured in the ground truth's coordinates, centred, its longest side ({true.side:.6g}) "
        f"scaled to 1;\n{samples:,} samples of each, seed {seed}.\n"
    )
    for name, value in result.items():
        number = f"{value:.4e}" if name in DISTANCES else f"{value:.4f}"
        show(f"{name:<20} {number:>10}  {EXPLANATIONS[name]}")


def read_truth(path: Path) -> Truth:
    """The true surface: the mesh itself, the formula a cloud was drawn from, or the cloud.

    Raises:
        InputError: the message says what is wrong with the file.
    """
    raw = read_cloud(find_file(path), mesh_samples=4)  # it is the mesh itself that is wanted
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
    """The surface of a checkpoint (.pt), or a mesh, in the units of the input or the file.

    Raises:
        InputError: the message says what is wrong with the file.
        ExtractionError: if a checkpoint's surface cannot be extracted.
    """
    if path.suffix == ".pt":
        with told(EXTRACTING):
            surface, checkpoint = extract_checkpoint(path)
        vertices = checkpoint.normalisation.undo(surface.vertices.cpu())
        kind = f"checkpoint at step {checkpoint.step:,}, {surface.num_faces:,} polygons"
        return Mesh(vertices, surface.triangles().cpu(), kind)
    with told(f"reading {path} ..."):
        corners, faces = read_mesh(path)
    return Mesh(torch.from_numpy(corners), torch.from_numpy(faces), f"{len(faces):,} triangles")
