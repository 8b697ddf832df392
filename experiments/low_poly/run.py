"""Few faces: count, distance and time of ``shapeopt lowpoly`` on five shapes, beside decimation.

``python -m experiments.low_poly.run DATA`` does what is not yet in results.json, the most telling
first, and writes the file after each. DATA is a folder with the four scans.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.face_count.decimation import BOUNDARY_WEIGHTS
from experiments.low_poly.convex_parts import coacd_parts, our_parts
from experiments.runs import ROOT, machine
from shapeopt.commands.evaluate import Mesh
from shapeopt.data.bunny import bunny_sdf
from shapeopt.data.cloud import PointCloud
from shapeopt.data.loading import load
from shapeopt.evaluation.measures import evaluate
from shapeopt.lowpoly.search import LowPoly, find
from shapeopt.mesh.certificate import certify
from shapeopt.mesh.polygon_mesh import PolygonMesh

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
MESHES = ROOT / "outputs" / "low_poly"
SHAPES = {
    "Stanford bunny": "stanford-bunny.obj",
    "spot": "spot.obj",
    "fandisk": "fandisk.obj",
    "rocker arm": "rocker-arm.obj",
    "analytic bunny": "",
}
DECIMATED = (100, 200, 300, 500, 1000, 2000, 4000)
SAMPLES = 30_000
SEEDS = range(3)
DECIMATION = [  # all of them each time: the library goes on with what was given last
    {"preservenormal": normal, "planarquadric": planar}
    for normal, planar in ((False, False), (True, False), (False, True), (True, True))
]
PARTS = 12
ERROR = 4e-3
"""Mean distance asked for, in longest sides."""


def jobs() -> Iterator[tuple[str, str, float, int]]:
    """What is asked of which shape: kind, shape, faces or parts or error, seed."""
    for shape in SHAPES:
        yield "decimation", shape, 0, 0
    for seed in SEEDS:
        for kind in ("triangles", "polygons"):
            for count in (300, 1000, 100):
                for shape in SHAPES:
                    yield kind, shape, count, seed
    for shape in SHAPES:
        yield "error", shape, ERROR, 0
    yield "error triangles", "Stanford bunny", ERROR, 0
    for shape in SHAPES:
        yield "parts", shape, PARTS, 0
    for seed in SEEDS:
        for shape in SHAPES:
            yield "triangles", shape, 3000, seed
    for shape in SHAPES:
        yield "polygons", shape, 3000, 0


def main(data: Path) -> None:
    """Does the jobs that are missing."""
    kinds: dict[str, Callable[..., dict[str, Any]]] = {
        "decimation": decimation,
        "triangles": low_poly,
        "polygons": low_poly,
        "error": low_poly,
        "error triangles": low_poly,
        "parts": parts,
    }
    for job in jobs():
        results = read_results()
        if any(
            [row[k] for k in ("kind", "shape", "number", "seed")] == list(job)
            for row in results["rows"]
        ):
            continue
        kind = job[0]
        row = dict(zip(("kind", "shape", "number", "seed"), job, strict=True))
        row |= kinds[kind](data, *job)
        print({k: v for k, v in row.items() if k != "curve"}, flush=True)
        results["rows"].append(row)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def read_results() -> dict[str, Any]:
    """The rows so far, and the machine."""
    if RESULTS.is_file():
        return json.loads(RESULTS.read_text())
    return {"machine": machine(), "rows": []}


@lru_cache(maxsize=1)
def cloud_of(data: Path, shape: str) -> PointCloud:
    """A shape as the command reads it."""
    return load(data / SHAPES[shape] if SHAPES[shape] else ROOT / "data" / "bunny.ply", seed=0)


def low_poly(data: Path, kind: str, shape: str, number: float, seed: int) -> dict[str, Any]:
    """One call of the command; its mesh is kept for the pictures."""
    cloud = cloud_of(data, shape)
    goal = {"error": number} if kind.startswith("error") else {"faces": int(number)}
    start, cpu = time.perf_counter(), time.process_time()
    found = find(cloud, **goal, triangles=kind.endswith("triangles"), seed=seed)
    row = described(found.surface, found.measures)
    row |= {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    if found.network is not None and found.union is not None:
        planes = found.network.planes.shape[1]
        row["parts"] = len(set((found.union.face_planes // planes).tolist()))
    keep(found, f"{shape}-{kind}-{number}-{seed}")
    return row


def described(surface: PolygonMesh, measures: dict[str, float]) -> dict[str, Any]:
    """What a row says of a surface."""
    checked = certify(surface)
    return {
        "faces": surface.num_faces,
        "triangles": len(surface.triangles()),
        "distance": measures["distance"],
        "largest": measures["hausdorff"],
        "closed": checked.is_clean and surface.is_closed,
        "components": len(checked.components),
        "genus": [part.genus for part in checked.components],
    }


def keep(found: LowPoly, name: str) -> None:
    """Leaves the mesh for the pictures."""
    MESHES.mkdir(parents=True, exist_ok=True)
    torch.save(found.surface.detach(), MESHES / f"{name}.pt")


def decimation(data: Path, _: str, shape: str, *__: int) -> dict[str, Any]:
    """Distance of the decimated truth by the best settings, an open one as it is or closed."""
    import pymeshlab

    cloud, curve = cloud_of(data, shape), []
    weights = BOUNDARY_WEIGHTS if shape == "Stanford bunny" else (None,)
    for count in DECIMATED:
        best = {"distance": np.inf}
        for weight, settings in product(weights, DECIMATION):
            meshes = pymeshlab.MeshSet()
            if SHAPES[shape]:
                meshes.load_new_mesh(str(data / SHAPES[shape]))
                meshes.meshing_remove_unreferenced_vertices()
            else:
                meshes.add_mesh(pymeshlab.Mesh(*marched_bunny()))
            if weight is None and shape == "Stanford bunny":
                meshes.meshing_close_holes(maxholesize=1000, newfaceselected=False)
            meshes.meshing_decimation_quadric_edge_collapse(
                targetfacenum=count, boundaryweight=weight or 1.0, **settings
            )
            mesh = meshes.current_mesh()
            vertices = cloud.normalisation.apply(torch.tensor(mesh.vertex_matrix()))
            faces = torch.tensor(mesh.face_matrix().astype(np.int64))
            surface = Mesh(vertices, faces, "decimated")
            distance = mean_distance(surface, cloud)
            if distance < best["distance"]:
                best = {"triangles": len(faces), "distance": distance}
                MESHES.mkdir(parents=True, exist_ok=True)
                torch.save((vertices, faces), MESHES / f"{shape}-decimation-{count}.pt")
        curve.append(best)
    return {"curve": curve}


def mean_distance(surface: Mesh, cloud: PointCloud) -> float:
    """In longest sides of the shape."""
    side = float(np.ptp(cloud.points.numpy(), axis=0).max())
    assert cloud.reference is not None
    return evaluate(surface, cloud.reference, SAMPLES)["distance"] / side


@lru_cache(maxsize=1)
def marched_bunny() -> tuple[np.ndarray, np.ndarray]:
    """The analytic bunny by marching cubes, fine enough to be taken for the truth."""
    from skimage.measure import marching_cubes

    side = 160
    axis = torch.linspace(-0.5, 0.5, side, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis, axis)
    values = torch.cat([bunny_sdf(piece) for piece in grid.split(200_000)])
    vertices, faces, _, _ = marching_cubes(values.view(side, side, side).numpy(), 0.0)
    return vertices / (side - 1) - 0.5, faces.astype(np.int32)


def parts(data: Path, _: str, shape: str, number: int, seed: int) -> dict[str, Any]:
    """Convex parts of the command and of CoACD, as many."""
    cloud = cloud_of(data, shape)
    if not SHAPES[shape]:
        vertices, faces = marched_bunny()
        triangles = cloud.normalisation.apply(torch.from_numpy(vertices)).numpy(), faces
    else:
        triangles = cloud.reference.vertices, cloud.reference.faces
    return {
        "shapeopt": our_parts(cloud, triangles, number, seed),
        "coacd": coacd_parts(cloud, triangles, number, seed),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
