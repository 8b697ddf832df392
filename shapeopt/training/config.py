"""From configuration to objects."""

from typing import Any

from omegaconf import DictConfig


def build(config: DictConfig) -> Any:
    """Builds the object that ``config._target_`` names, or the objects of a dict of such.

    Lists and dicts reach constructors as plain Python containers. An
    :class:`shapeopt.errors.InputError` raised by a constructor comes through as it is.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from shapeopt.errors import InputError

    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise
