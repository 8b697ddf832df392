"""A configuration that comes out of a checkpoint: brought up to date, and trusted with nothing.

Hydra builds whatever object a ``_target_`` names, so a configuration is a program. The user's own
is theirs to write; one out of a file may come from anybody. So it may name what this project
brings, and nothing else.
"""

import copy
import importlib
from collections.abc import Iterator
from typing import Any

from shapeopt.errors import InputError

ALLOWED = frozenset(
    {
        "shapeopt.sdf_network",
        "shapeopt.networks.dense_sdf_network",
        "shapeopt.Subdivision",
        "shapeopt.Tracing",
        "shapeopt.data.load",
        "shapeopt.data.load_scan",
        "shapeopt.data.shapes.box",
        "shapeopt.data.shapes.ellipsoid",
        "shapeopt.data.shapes.leaning_tower",
        "shapeopt.output.RunLog",
        "shapeopt.training.Cosine",
        "shapeopt.training.Phase",
        "shapeopt.training.Step",
    }
)
"""What a saved configuration may name, beside the losses in ``shapeopt.losses``."""

RENAMED = {
    "shapeopt.dense_network.dense_sdf_network": "shapeopt.networks.dense_sdf_network",
    "shapeopt.logging.RunLog": "shapeopt.output.RunLog",
    "shapeopt.schedules.Cosine": "shapeopt.training.Cosine",
    "shapeopt.schedules.Step": "shapeopt.training.Step",
    "shapeopt.extract_surface": "shapeopt.Subdivision",
    "shapeopt.WarmExtractor": "shapeopt.Tracing",
    "shapeopt.losses.Compactness": "shapeopt.losses.SolidRoundness",
    "shapeopt.losses.Roundness": "shapeopt.losses.PolygonRoundness",
}
"""Names of earlier versions."""

RENAMED_SETTINGS = {"off_share": "off_fraction", "uniform_share": "uniform_fraction"}


def load_saved_config(saved: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a checkpoint under today's names.

    Args:
        saved: resolved, as plain containers; it is left as it is.

    Raises:
        InputError: if it names something that a checkpoint may not name.
    """
    config = _with_new_names(copy.deepcopy(saved))
    _split_extractor(config)
    for target in _targets(config):
        if target not in ALLOWED and not _is_loss(target):
            raise InputError(
                f"the configuration in the checkpoint names {target}, which is no network, loss "
                "or extractor of shapeopt: a checkpoint may not run other code"
            )
    return config


def _with_new_names(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_new_names(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {RENAMED_SETTINGS.get(key, key): _with_new_names(item) for key, item in node.items()}
    if "_target_" in node:
        node["_target_"] = RENAMED.get(node["_target_"], node["_target_"])
    return node


def _split_extractor(config: dict[str, Any]) -> None:
    """Box and precision were settings of the extractor."""
    extractor = config.get("extractor")
    if not isinstance(extractor, dict) or "surface" in config:
        return
    dtype = extractor.pop("dtype", None)
    extractor.pop("_partial_", None)
    name = dtype.get("path", "") if isinstance(dtype, dict) else dtype or "float64"
    config["surface"] = {
        "bounds": extractor.pop("bounds", [-0.5, 0.5]),
        "dtype": str(name).removeprefix("torch."),
    }


def _targets(node: Any) -> Iterator[Any]:
    """Everything that building the configuration would import."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _targets(item)
    elif isinstance(node, str) and "${" in node:
        yield node  # an interpolation: a saved configuration is resolved and has none


def _is_loss(target: Any) -> bool:
    """Whether the name is that of a loss in ``shapeopt.losses`` or one of its files."""
    from shapeopt.losses.base import FitLoss, GeometryLoss, SurfaceFitLoss

    module, _, name = str(target).rpartition(".")
    if module != "shapeopt.losses" and not module.startswith("shapeopt.losses."):
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, (FitLoss, GeometryLoss, SurfaceFitLoss))
