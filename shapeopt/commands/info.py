"""What a network and its surface are, in one table: ``shapeopt info MODEL``."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shapeopt.commands.sources import Source, open_source
from shapeopt.errors import EmptySurfaceError
from shapeopt.extraction.certificate import certify_surface
from shapeopt.extraction.extract import extract_complex
from shapeopt.networks.affine import AffineLayer
from shapeopt.networks.lattice import ORDERS
from shapeopt.networks.reading import affine_layers
from shapeopt.output.terminal import show
from shapeopt.output.waiting import CHECKING, EXTRACTING, told

FEASIBLE = 500_000
"""Regions to be expected of a network up to which they are counted unasked: a few seconds."""


def run(source: Path, cells: bool = False, as_json: bool = False, **of_network: Any) -> None:
    """Reads, extracts and prints.

    Args:
        source: a checkpoint of a training, or a network of :func:`shapeopt.load_network`.
        cells: count the regions, however many there are.
        as_json: print one JSON object in place of a table.
        of_network: settings that only a network has, see :func:`open_source`.

    Raises:
        InputError: for a wrong file or setting.
        ExtractionError: if the surface cannot be extracted.
    """
    opened = open_source(source, **of_network)
    layers = affine_layers(opened.network, 3)
    facts = {"file": str(source)} | _of_training(opened) | _of_network(opened, layers)
    facts |= _of_regions(opened, layers, cells) | _of_surface(opened)
    if as_json:
        show(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        show(f"{name:<{width}}  {_text(value)}")


def _of_training(source: Source) -> dict[str, Any]:
    saved = source.checkpoint
    if saved is None:
        return {}
    return {
        "training": saved.config.get("name", ""),
        "step": saved.step,
        "units in a box length": source.unit,
    }


def _of_network(source: Source, layers: list[AffineLayer]) -> dict[str, Any]:
    widths = [layers[0].weight.shape[1], *(len(layer.bias) for layer in layers)]
    encoding = layers[0].encoding
    lattices = (
        {} if encoding is None else {"cubes along a side": ", ".join(map(str, encoding.cells))}
    )
    return {
        "layers": " > ".join(map(str, widths)),
        **lattices,
        "parameters": sum(weight.numel() for weight in source.network.parameters()),
        "folds": _folds(layers),
    }


def _folds(layers: list[AffineLayer]) -> int:
    """Neurons that a ReLU follows."""
    neurons = sum(len(layer.bias) for layer in layers[:-1])
    linear = [layer.is_linear for layer in layers[:-1] if layer.is_linear is not None]
    return neurons - sum(int(which.sum()) for which in linear)


def _of_regions(source: Source, layers: list[AffineLayer], anyway: bool) -> dict[str, Any]:
    encoding = layers[0].encoding
    if encoding is not None:
        simplices = encoding.finest**3 * len(ORDERS)
        return {"regions": f"not counted: a network in each of {simplices:,} simplices"}
    n = _folds(layers) + 1  # the output cuts, too
    expected = 1 + n + n * (n - 1) // 2 + n * (n - 1) * (n - 2) // 6  # of n planes in space
    if expected > FEASIBLE and not anyway:
        text = f"not counted: {n} planes alone make up to {expected:,}; --cells counts them"
        return {"regions": text}
    with told("counting the regions ..."), torch.no_grad():
        whole = extract_complex(source.network, source.bounds, dtype=source.dtype)
        vertices, edges, polygons, regions = whole.num_cells
    others = f"{polygons:,} polygons, {edges:,} edges, {vertices:,} vertices"
    return {"regions": regions, "cells of lower dimension": others}


def _of_surface(source: Source) -> dict[str, Any]:
    try:
        with told(EXTRACTING):
            surface = source.surface()
    except EmptySurfaceError as none:
        return {"surface": f"none: {none}"}
    with told(CHECKING):
        checked = certify_surface(source.network, surface, source.extractor)
    mesh = source.normalisation.undo_mesh(surface)
    parts = checked.mesh.components
    genera = Counter(part.genus for part in parts if part.genus is not None)
    return {
        "polygons": mesh.num_faces,
        "edges": mesh.num_edges,
        "vertices": mesh.num_vertices,
        "components": len(parts),
        "genus": ", ".join(f"{g}" + f" ({n} times)" * (n > 1) for g, n in genera.items()) or "open",
        "closed": checked.mesh.closed,
        "manifold": checked.mesh.manifold,
        "area": sum(part.area for part in parts) * source.unit**2,
        "volume": mesh.volume().item() if checked.mesh.closed else "open",
        "lower corner": _point(mesh.vertices.amin(dim=0)),
        "upper corner": _point(mesh.vertices.amax(dim=0)),
        "largest error of a vertex": checked.largest_error * source.unit,
        "misses nothing": checked.complete,
    }


def _point(position: Tensor) -> str:
    return " ".join(f"{x:.5g}" for x in position.tolist())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
