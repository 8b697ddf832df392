"""Settings are checked before any work: of the right kind, and in their range.

A constructor says in its signature what kinds it takes, and checks ranges itself when it is built.
So here stand only the settings that no constructor takes at once.
"""

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from shapeopt.errors import InputError
from shapeopt.training.batches import BatchSource
from shapeopt.training.loop import Training

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
}
OWN: dict[str, Any] = {
    "name": str,
    "seed": int,
    "device": str,
    "threads": int | Literal["auto"],
    "evaluation_samples": int,
    "up": Literal["y", "z"],
}
"""Settings at the top, and their kinds."""
SMALLEST = {"seed": 0, "threads": 1, "evaluation_samples": 1}
LARGEST_SEED = 2**63 - 1


def check_settings(config: Mapping[str, Any]) -> None:
    """Checks a whole configuration; it may be of an earlier version, which had fewer settings.

    Args:
        config: resolved, as plain containers.

    Raises:
        InputError: for the first setting that is wrong; names it and says what it can be.
    """
    for name, kind in OWN.items():
        if name in config:
            _check(name, config[name], kind)
            least = SMALLEST.get(name, -math.inf)
            if isinstance(config[name], int) and config[name] < least:
                raise InputError(f"{name} is {config[name]}; it must be at least {least}")
    if config.get("seed", 0) > LARGEST_SEED:
        raise InputError(f"seed is {config['seed']}; it must be below 2**63")
    mesh_every = config.get("logging", {}).get("mesh_every", 0)
    if isinstance(mesh_every, int) and mesh_every < 0:
        raise InputError(f"logging.mesh_every is {mesh_every}; it must be at least 0")
    _check_call("batches", BatchSource, config.get("batches", {}))
    _check_call("training", Training, config.get("training", {}))
    _check_targets("", config)


def _check_targets(place: str, node: Any) -> None:
    """Checks the settings of everything that is to be built, wherever it stands."""
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        from hydra.utils import get_object

        try:
            target = get_object(node["_target_"])
        except Exception as error:
            raise InputError(f"{place}._target_ is {node['_target_']!r}: {error}") from error
        _check_call(place, target, node)
    for name, value in node.items():
        _check_targets(f"{place}.{name}" if place else name, value)


def _check_call(place: str, target: Callable[..., Any], settings: Any) -> None:
    if not isinstance(settings, Mapping):
        raise InputError(f"{place} is {settings!r}; it must be a group of settings")
    function = target.__init__ if inspect.isclass(target) else target
    kinds = get_type_hints(function)
    for name, value in settings.items():
        is_built = isinstance(value, Mapping) and "_target_" in value
        if name in kinds and not is_built:
            _check(f"{place}.{name}", value, kinds[name])


def _check(name: str, value: Any, kind: Any) -> None:
    if not _fits(value, kind):
        shown = value if isinstance(value, str) else repr(value)
        raise InputError(f"{name} is {shown}; it must be {_words(kind)}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a plain value is of an annotated kind; what cannot be told passes."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (Sequence, list, tuple):
        parts = arguments[:1] or (Any,)
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Path:
        return isinstance(value, str)
    return not isinstance(kind, type) or isinstance(value, kind)


def _words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(part) for part in arguments if _is_plain(part)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Sequence, list, tuple):
        return f"a list, each of its items {_words(arguments[0])}"
    return WORDS.get(kind, str(kind))


def _is_plain(kind: Any) -> bool:
    """Whether a configuration can hold it."""
    return kind in WORDS or get_origin(kind) is not None
