"""A configuration that comes out of a checkpoint: brought up to date, and trusted with nothing.

Hydra builds whatever object a ``_target_`` names, so a configuration is a program. The user's own
is theirs to write; one out of a file may come from anybody. So each place of it may name what
belongs there in this project, and nothing else may name anything.
"""

import importlib
import re
from typing import Any

from shapeopt.errors import InputError

NETWORKS = frozenset(
    {
        "shapeopt.sdf_network",
        "shapeopt.networks.ConvexUnion",
        "shapeopt.networks.EncodedNetwork",
        "shapeopt.networks.dense_sdf_network",
    }
)
EXTRACTORS = frozenset({"shapeopt.Subdivision", "shapeopt.Tracing"})
DATA = frozenset(
    {
        "shapeopt.data.load",
        "shapeopt.data.load_scan",
        "shapeopt.data.shapes.box",
        "shapeopt.data.shapes.ellipsoid",
        "shapeopt.data.shapes.leaning_tower",
    }
)
SCHEDULES = frozenset({"shapeopt.training.Cosine", "shapeopt.training.Step"})
PHASES = frozenset({"shapeopt.training.Phase"})
LOGS = frozenset({"shapeopt.output.RunLog"})

ALLOWED: dict[tuple[str, ...], frozenset[str]] = {
    ("model",): NETWORKS,
    ("extractor",): EXTRACTORS,
    ("data",): DATA,
    ("logging",): LOGS,
    ("schedule",): SCHEDULES,
    ("training", "fit"): PHASES,
    ("training", "shape"): PHASES,
    ("training", "fit", "schedule"): SCHEDULES,
    ("training", "shape", "schedule"): SCHEDULES,
}
"""What each place of a saved configuration may name, beside the losses in ``losses.NAME``."""

LOG_CHOICES = ("project", "mode", "mesh_every", "group")
LOG_SETTINGS = {"_target_", "_partial_", *LOG_CHOICES}

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


def load_saved_config(saved: Any) -> dict[str, Any]:
    """The configuration of a checkpoint under today's names.

    Args:
        saved: resolved, as plain containers; it is left as it is.

    Raises:
        InputError: if it is no configuration, or names something that its place may not name.
    """
    config = _plain(saved)
    if not isinstance(config, dict):
        raise InputError("the configuration in the checkpoint is no dictionary of settings")
    _split_extractor(config)
    _check(config, ())
    return config


def _plain(node: Any) -> Any:
    """A copy under today's names, of dicts, lists, texts and numbers alone.

    A tuple is a list: OmegaConf takes it for one, so it must not pass unread.
    """
    if isinstance(node, list | tuple):
        return [_plain(item) for item in node]
    if isinstance(node, dict):
        copy = {RENAMED_SETTINGS.get(_text(key), key): _plain(node[key]) for key in node}
        target = copy.get("_target_")
        if isinstance(target, str):
            copy["_target_"] = RENAMED.get(target, target)
        return copy
    if node is None or type(node) in (bool, int, float):
        return node
    return _text(node)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise InputError(f"the configuration in the checkpoint holds a {type(value).__name__}")
    # A saved configuration is resolved: an interpolation would read a file or the environment.
    if "${" in value:
        raise InputError(
            f"the configuration in the checkpoint holds {value}, which would be looked up here: "
            "a checkpoint may not do that"
        )
    return value


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


def _check(node: Any, place: tuple[str, ...]) -> None:
    """Raises InputError for anything that building the configuration should not build."""
    if isinstance(node, list):
        for i, item in enumerate(node):
            _check(item, (*place, str(i)))
    if not isinstance(node, dict):
        return
    where = ".".join(place) or "configuration"
    if place in ALLOWED or "_target_" in node:
        target = node.get("_target_")
        is_loss = place[:1] == ("losses",) and len(place) == 2 and _is_loss(target)
        if not is_loss and not (isinstance(target, str) and target in ALLOWED.get(place, ())):
            raise InputError(
                f"the {where} in the checkpoint names {target}, which shapeopt does not have "
                "there: a checkpoint may not run other code"
            )
    if place == ("logging",) and (node.keys() - LOG_SETTINGS or node.get("_partial_") is not True):
        raise InputError(f"the logging in the checkpoint may choose {', '.join(LOG_CHOICES)} alone")
    for key, item in node.items():
        # Other keys in underscores tell Hydra how to build: none is needed.
        is_known = key == "_target_" or (key == "_partial_" and place == ("logging",))
        if key.startswith("_") and not is_known:
            raise InputError(f"the {where} in the checkpoint has {key}, which it may not have")
        _check(item, (*place, key))


def _is_loss(target: Any) -> bool:
    """Whether the name is that of a loss in ``shapeopt.losses`` or one of its files."""
    from shapeopt.losses.base import FitLoss, GeometryLoss, SurfaceFitLoss

    if not isinstance(target, str) or not re.fullmatch(r"shapeopt\.losses(\.\w+)?\.\w+", target):
        return False
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, FitLoss | GeometryLoss | SurfaceFitLoss)
