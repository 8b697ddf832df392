"""How many estimated normals point out, on clouds with faults.

    python -m experiments.reading.normals --meshes FOLDER

Writes normals.md. FOLDER holds spot.obj and stanford-bunny.obj; without it, the shapes made here.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from experiments.runs import markdown_table
from shapeopt.data import MeshReference, estimate_normals, read_mesh
from shapeopt.data.triangle_sampling import sample_triangles

HERE = Path(__file__).parent
POINTS, SEEDS = 4000, 10
Points = np.ndarray
Fault = Callable[[Points, Points, np.random.Generator], tuple[Points, Points]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--meshes", type=Path)
    meshes = parser.parse_args().meshes
    names = [*SHAPES, *(("spot", "stanford-bunny") if meshes else ())]
    rows: list[dict[str, str | int | float]] = []
    for name in names:
        if name in SHAPES:
            mesh = SHAPES[name]()
            vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, np.int64)
        else:
            with warnings.catch_warnings(action="ignore"):
                vertices, faces = read_mesh(meshes / f"{name}.obj")
        rows.append({"shape": name} | {fault: measured(vertices, faces, fault) for fault in FAULTS})
        print(rows[-1], flush=True)
    (HERE / "normals.md").write_text(markdown_table(rows), encoding="utf-8")


def measured(vertices: Points, faces: np.ndarray, fault: str) -> str:
    """Mean and least share of right normals, in percent, over the seeds."""
    shares = []
    for seed in range(SEEDS):
        points, truth = faulty(vertices, faces, fault, seed)
        right = (estimate_normals(points) * truth).sum(axis=1) > 0
        shares.append(100 * right[truth.any(axis=1)].mean())
    return f"{np.mean(shares):.1f} ({np.min(shares):.1f})"


def faulty(vertices: Points, faces: np.ndarray, fault: str, seed: int) -> tuple[Points, Points]:
    """A cloud with true normals, which are zero for points that are not on the surface."""
    rng = np.random.default_rng(seed)
    count = POINTS // 6 if fault == "six times" else POINTS
    points, face = sample_triangles(vertices, faces, count, seed)
    return FAULTS[fault](points, MeshReference(vertices, faces).triangle_normals()[face], rng)


def with_others(points: Points, normals: Points, others: Points) -> tuple[Points, Points]:
    return np.vstack([points, others]), np.vstack([normals, np.zeros_like(others)])


def stray(fraction: float) -> Fault:
    """Points anywhere in a box a fifth larger than that of the shape."""

    def add(points: Points, normals: Points, rng: np.random.Generator) -> tuple[Points, Points]:
        low, high = points.min(axis=0), points.max(axis=0)
        places = rng.uniform(-0.6, 0.6, (int(fraction * len(points)), 3)) * (high - low)
        return with_others(points, normals, (low + high) / 2 + places)

    return add


def far(points: Points, normals: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """Ten points three to ten sizes away."""
    places = rng.normal(size=(10, 3)) * rng.uniform(3, 10, (10, 1)) * np.ptp(points, axis=0).max()
    return with_others(points, normals, points.mean(axis=0) + places)


def six_times(points: Points, normals: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    return np.repeat(points, 6, axis=0), np.repeat(normals, 6, axis=0)


def noisy(points: Points, normals: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """0.3 % of the size."""
    return points + 0.003 * np.ptp(points, axis=0).max() * rng.normal(size=points.shape), normals


FAULTS: dict[str, Fault] = {
    "none": lambda points, normals, rng: (points, normals),
    "0.5 % stray": stray(0.005),
    "1 % stray": stray(0.01),
    "ten far": far,
    "six times": six_times,
    "noise": noisy,
}


def balls() -> trimesh.Trimesh:
    """Three, apart."""
    parts = [trimesh.creation.icosphere(subdivisions=3, radius=r) for r in (0.2, 0.3, 0.1)]
    parts[1].apply_translation((1, 0, 0))
    parts[2].apply_translation((0, 0.5, 0))
    return trimesh.util.concatenate(parts)


def shell() -> trimesh.Trimesh:
    """A ball with a ball-shaped cavity."""
    outer, inner = (trimesh.creation.icosphere(subdivisions=4, radius=r) for r in (0.45, 0.3))
    inner.invert()
    return trimesh.util.concatenate([outer, inner])


SHAPES: dict[str, Callable[[], trimesh.Trimesh]] = {
    "box": lambda: trimesh.creation.box((0.9, 0.6, 0.45)),
    "torus": lambda: trimesh.creation.torus(0.4, 0.1),
    "three balls": balls,
    "shell": shell,
    "plate of 1/30": lambda: trimesh.creation.box((0.9, 0.9, 0.03)),
}


if __name__ == "__main__":
    main()
