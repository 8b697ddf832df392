"""Polygons against distance: plain fits, with the face-count loss, and with merged polygons.

    python -m experiments.face_count.run [--folder outputs/face_count] [--only "dense 4x8"]

Writes ``results.json``, ``pareto.png`` and ``bunny.png`` beside this file and prints the tables of
its README. Finished trainings in the folder and the decimation curve in ``results.json`` are used
again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from experiments.face_count.decimation import decimate, decimation_curve, triangles_needed
from experiments.face_count.figures import draw_bunnies, draw_pareto
from experiments.runs import ROOT, machine, markdown_table, measure_triangles, surface_of, train
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data.scans import fetch_scan
from shapeopt.simplify import merge_polygons, remove_idle_neurons

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PLAIN = [  # sdf_network, and a longer fit, in which errors near the surface count most
    "model._target_=shapeopt.sdf_network",
    "losses.distance.near=0.003",
    "losses.distance.weight=1",
    "training.fit.steps=20000",
]
NETWORKS = {
    "plain 3x16": [
        *PLAIN,
        *("model.depth=3", "model.width=16", "losses.face_count.weight=2e-6"),
        *("training.shape.steps=1500", "training.shape.learning_rate=2e-3"),
    ],
    "dense 4x8": [],  # experiment=lowpoly as it is
    "dense 4x11": ["model.width=11", "losses.face_count.weight=2.5e-6"],
    "dense 4x15": [
        *("model.width=15", "losses.face_count.weight=1.2e-6"),
        *("training.shape.steps=1500", "training.shape.learning_rate=4e-3"),
    ],
}
PICTURE = "dense 4x8"
CONTROLLED = ("dense 4x8", "dense 4x11")  # shaped without the face-count loss, too
STAGES = {"fit": "fit", "control": "shaped without face count", "face_count": "with face count"}
MERGE_ERRORS = (0.5, 1.0, 2.0, 3.0)  # in units of the surface's own mean distance to the truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "face_count")
    parser.add_argument("--only", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    options = parser.parse_args()
    truth = fetch_scan("stanford_bunny")
    results = read_results()
    curve = results["decimation"] or decimation_curve(truth)
    results |= {"machine": machine(), "decimation": curve}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for name in options.only:
        folder = train(folder_of(options.folder, name), "experiment=lowpoly", *NETWORKS[name])
        stages = {"fit": folder / "checkpoints" / "fit.pt"}
        if name in CONTROLLED:
            without = (f"resume={stages['fit']}", "losses.face_count.weight=0")
            control = train(folder_of(options.folder, f"{name} control"), *without)
            stages["control"] = control / "checkpoints" / "last.pt"
        stages["face_count"] = folder / "checkpoints" / "last.pt"
        for stage, checkpoint in stages.items():
            row = {"network": name, "stage": stage}
            row |= measure_all(checkpoint, truth, curve)
            print(json.dumps(row), flush=True)
            surfaces = results["surfaces"] | {f"{name} {stage}": row}
            results["surfaces"] = dict(sorted(surfaces.items(), key=in_order))
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))
    draw_pareto(list(results["surfaces"].values()), curve, HERE / "pareto.png")
    checkpoints = folder_of(options.folder, PICTURE) / "checkpoints"
    if (checkpoints / "last.pt").is_file():
        draw_bunnies(checkpoints / "fit.pt", checkpoints / "last.pt", HERE / "bunny.png")


def in_order(item: tuple[str, dict[str, Any]]) -> tuple[int, int]:
    """Networks and stages as they are listed above."""
    row = item[1]
    return list(NETWORKS).index(row["network"]), list(STAGES).index(row["stage"])


def read_results() -> dict[str, Any]:
    """The results so far; those of an earlier run are kept until they are measured again."""
    if RESULTS.is_file():
        return json.loads(RESULTS.read_text())
    return {"machine": {}, "decimation": [], "surfaces": {}}


def folder_of(folder: Path, name: str) -> Path:
    return folder / name.replace(" ", "_")


def measure_all(checkpoint: Path, truth: Path, curve: list[dict[str, float]]) -> dict[str, Any]:
    """The surface of a checkpoint, merged within several errors, and decimated for comparison."""
    surface = surface_of(checkpoint).detach()
    row = measure_surface(surface, truth, curve)
    row |= {"closed": surface.is_closed, "components_minus_handles": surface.euler_characteristic}
    row["idle_neurons"] = idle_neurons_of(checkpoint)
    side = float((surface.vertices.amax(dim=0) - surface.vertices.amin(dim=0)).max())
    row["merged"] = []
    for factor in MERGE_ERRORS:
        error = factor * row["distance"]
        merged = merge_polygons(surface, error * side)
        vertices, triangles = decimate(surface.vertices, surface.triangles(), merged.num_faces)
        decimated = measure_triangles(vertices, triangles, truth)["distance"]
        row["merged"].append(
            {"error": error}
            | measure_surface(merged, truth, curve)
            | {"closed": merged.is_closed, "decimated_to_as_many": decimated}
        )
    return row


def measure_surface(
    surface: PolyhedralSurface, truth: Path, curve: list[dict[str, float]]
) -> dict[str, Any]:
    """Polygons and triangles, the distance, and both counts per triangle of decimation."""
    distance = measure_triangles(surface.vertices, surface.triangles(), truth)["distance"]
    needed = triangles_needed(curve, distance)
    return {
        "distance": distance,
        "polygons": surface.num_faces,
        "triangles": len(surface.triangles()),
        "decimation_needs": needed,
        "face_efficiency": surface.num_faces / needed,
        "triangle_efficiency": len(surface.triangles()) / needed,
    }


def idle_neurons_of(checkpoint: Path) -> dict[str, Any]:
    """What the exact removal of neurons gives."""
    from shapeopt.training.checkpoints import Checkpoint

    reduction = remove_idle_neurons(Checkpoint.load(checkpoint).rebuilt_network())
    return {
        "before": reduction.widths_before,
        "after": reduction.widths,
        "refused": reduction.refused,
    }


def tables(results: dict[str, Any]) -> str:
    """The tables of the README."""
    decimation = [
        {"triangles": row["triangles"], "distance x 1e-3": f"{1e3 * row['distance']:.2f}"}
        for row in results["decimation"]
    ]
    networks, merged = [], []
    for row in results["surfaces"].values():
        name = {"": f"{row['network']}, {STAGES[row['stage']]}"}
        networks.append(
            name
            | {
                "distance x 1e-3": f"{1e3 * row['distance']:.2f}",
                "polygons": f"{row['polygons']:,}",
                "decimation needs": f"{row['decimation_needs']:.0f}",
                "face efficiency": f"{row['face_efficiency']:.1f}",
            }
        )
        best = row["merged"][MERGE_ERRORS.index(2.0)]
        merged.append(
            name
            | {
                "distance x 1e-3": f"{1e3 * best['distance']:.2f}",
                "polygons": f"{best['polygons']:,}",
                "face efficiency": f"{best['face_efficiency']:.2f}",
                "triangles in them": f"{best['triangles']:,}",
                "triangles / decimation": f"{best['triangle_efficiency']:.1f}",
                "decimated instead": f"{1e3 * best['decimated_to_as_many']:.2f}",
            }
        )
    return "\n".join(markdown_table(rows) for rows in (networks, merged, decimation))


if __name__ == "__main__":
    main()
