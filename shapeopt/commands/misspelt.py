"""A choice or a setting of a training that there is not: what there is, and what may be meant."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from shapeopt.shipped import shipped_folder


def explain(error: Exception) -> str | None:
    """One line for Hydra's errors of these kinds, which are many; None for any other error."""
    from hydra.errors import ConfigCompositionException, MissingConfigException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_choice(*error.missing_cfg_file.rpartition("/")[::2])
    if isinstance(error, ConfigCompositionException):
        missing = re.search(r"Could not override '([^']+)'", str(error))
        return _no_setting(missing[1]) if missing else None
    return None


def _no_choice(group: str, name: str) -> str | None:
    """For ``group=name``; ``name`` may be misspelt."""
    folder = shipped_folder() / "conf" / group
    there = sorted(file.stem for file in folder.glob("*.yaml"))
    if not group or not there:
        return None
    return f"there is no {group}={name}{_meant(name, there)}; there are {', '.join(there)}"


def _no_setting(name: str) -> str:
    conf = shipped_folder() / "conf"
    groups = [folder.name for folder in conf.iterdir() if folder.is_dir()]
    there = [*groups, *_settings(conf)]
    return f"there is no setting {name}{_meant(name, there)}; shapeopt train --help lists all"


def _meant(name: str, there: Sequence[str]) -> str:
    near = get_close_matches(name, there, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _settings(conf: Path) -> Iterator[str]:
    """The dotted names of everything that can be set."""
    from omegaconf import OmegaConf

    for path in sorted(conf.rglob("*.yaml")):
        group = path.relative_to(conf).parent.name
        if group == "experiment":
            continue
        package = re.match(r"# @package (\S+)", path.read_text(encoding="utf-8"))
        values = OmegaConf.to_container(OmegaConf.load(path))
        yield from _names(values, package[1] if package else group)


def _names(values: object, within: str) -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            name = f"{within}.{key}".lstrip(".")
            yield name
            yield from _names(value, name)
