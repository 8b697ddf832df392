"""The tables and the pictures of results.json: ``python -m experiments.low_poly.figures``."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.low_poly.run import HERE, MESHES, SHAPES, read_results
from experiments.runs import markdown_table
from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.viewing import render_png

Row = dict[str, Any]
UP = {"Stanford bunny": "y", "spot": "y", "fandisk": "z", "rocker arm": "y", "analytic bunny": "z"}
TURN = {"Stanford bunny": 20, "spot": 215, "fandisk": 60, "rocker arm": 30, "analytic bunny": -60}
EFFICIENCY_AT = (6e-3, 4e-3, 2.5e-3, 1.5e-3, 8e-4, 4e-4, 2e-4)


def main() -> None:
    """Writes tables.md and the pictures."""
    rows = read_results()["rows"]
    curves = {row["shape"]: row["curve"] for row in rows if row["kind"] == "decimation"}
    text = "Asked for, reached, and what decimation needs for the same distance:\n\n"
    text += markdown_table(counts(rows, curves)) + "\nAt given distances, interpolated:\n\n"
    text += markdown_table(efficiencies(rows, curves))
    parts = [row for row in rows if row["kind"] == "parts"]
    if parts:
        text += "\nConvex parts:\n\n" + markdown_table(part_rows(parts))
    (HERE / "tables.md").write_text(text)
    for count in (100, 300, 1000):
        draw(count)


def needed(curve: list[Row], distance: float) -> float:
    """Triangles of decimation for a distance, between logarithms; NaN out of its range."""
    points = sorted((math.log(row["distance"]), math.log(row["triangles"])) for row in curve)
    places, counts = zip(*points, strict=True)
    if not places[0] <= math.log(distance) <= places[-1]:
        return math.nan
    return math.exp(float(np.interp(math.log(distance), places, counts)))


def counts(rows: list[Row], curves: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """One row for each call of the command."""
    table = []
    for row in sorted(rows, key=lambda row: (row["seed"], row["number"])):
        if row["kind"] not in ("triangles", "polygons", "error", "error triangles"):
            continue
        than = needed(curves[row["shape"]], row["distance"])
        got = row["faces"]
        table.append(
            {
                "shape": row["shape"],
                "of": row["kind"],
                "seed": row["seed"],
                "asked": f"{row['number']:,g}",
                "got": f"{got:,}",
                "triangles": f"{row['triangles']:,}",
                "distance x 1e-3": f"{1e3 * row['distance']:.3g}",
                "largest x 1e-3": f"{1e3 * row['largest']:.0f}",
                **_beside(got, than, row["distance"], curves[row["shape"]]),
                "closed": "yes" if row["closed"] else "no",
                "components": row["components"],
                "genus": sum(row["genus"]),
                "CPU s": f"{row['cpu_seconds']:.0f}",
            }
        )
    return sorted(table, key=lambda row: (row["of"], list(SHAPES).index(row["shape"])))


def _beside(got: int, than: float, distance: float, curve: list[Row]) -> dict[str, str]:
    """What decimation needs, and ours by that; more than its most where it comes less near."""
    if not math.isnan(than):
        return {"decimation needs": f"{than:,.0f}", "ratio": f"{got / than:.2f}"}
    best = min(curve, key=lambda row: row["distance"])
    if distance < best["distance"]:
        most = best["triangles"]
        return {"decimation needs": f"> {most:,}", "ratio": f"< {got / most:.2f}"}
    return {"decimation needs": "-", "ratio": "-"}


def efficiencies(rows: list[Row], curves: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """Faces of ours by triangles of decimation at given distances; ours between logarithms, too."""
    table = []
    for kind in ("triangles", "polygons"):
        for shape, curve in curves.items():
            own = [r for r in rows if (r["kind"], r["shape"]) == (kind, shape)]
            of_seed = {seed: [r for r in own if r["seed"] == seed] for seed in (0, 1, 2)}
            found: dict[str, Any] = {"of": kind, "shape": shape}
            for distance in EFFICIENCY_AT:
                than = needed(curve, distance)
                ratios = [
                    needed(
                        [{"distance": r["distance"], "triangles": r["faces"]} for r in seed],
                        distance,
                    )
                    / than
                    for seed in of_seed.values()
                    if len(seed) > 1
                ]
                clear = [ratio for ratio in ratios if not math.isnan(ratio)]
                found[f"{1e3 * distance:g}e-3"] = f"{np.median(clear):.2f}" if clear else "-"
            if any(value != "-" for value in list(found.values())[2:]):
                table.append(found)
    return table


def part_rows(rows: list[Row]) -> list[dict[str, Any]]:
    """Ours and CoACD's below one another."""
    table = []
    for row in rows:
        for name in ("shapeopt", "coacd"):
            own = row[name]
            table.append(
                {
                    "shape": row["shape"],
                    "by": "CoACD" if name == "coacd" else name,
                    "parts": own["parts"],
                    "all convex": "yes" if own["convex"] else "no",
                    "faces": f"{own['faces']:,}",
                    "volume error": f"{own['volume_error']:.3f}" if "volume_error" in own else "-",
                    "distance x 1e-3": f"{1e3 * own['distance']:.2f}",
                    "CPU s": f"{own['cpu_seconds']:.0f}",
                }
            )
    return table


def draw(count: int) -> None:
    """A column for each shape with so many triangles: ours, and decimation below it."""
    from matplotlib.image import imread, imsave

    columns = []
    for shape in SHAPES:
        paths = [
            MESHES / f"{shape}-{x}.pt" for x in (f"triangles-{count}-0", f"decimation-{count}")
        ]
        if not all(path.is_file() for path in paths):
            continue
        ours, decimated = map(_read, paths)
        if ours is None or decimated is None:
            continue
        file = MESHES / "pair.png"
        panels = {"shapeopt": ours, "decimation": decimated}
        render_png(panels, file, up=UP[shape], azimuth=TURN[shape], size=2.2, dpi=100)
        picture = imread(io.BytesIO(file.read_bytes()))[:, :, :3]
        half = picture.shape[1] // 2
        columns.append(np.concatenate([picture[:, :half], picture[:, half : 2 * half]]))
    if columns:
        imsave(HERE / f"triangles_{count}.png", np.concatenate(columns, axis=1))


def _read(path: Path) -> PolygonMesh | None:
    """A kept mesh; None where decimation left an edge of more than two triangles."""
    found = torch.load(path, weights_only=False)
    if isinstance(found, PolygonMesh):
        return found
    try:
        return PolygonMesh.from_polygons(found[0], found[1].tolist())
    except InputError:
        return None


if __name__ == "__main__":
    main()
