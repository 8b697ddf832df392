"""Which errors are the user's to mend, and how they are told."""


def mendable(error: Exception) -> str | None:
    """What is wrong, in words, if it lies in what the user gave."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from shapeopt.commands.misspelt import explain
    from shapeopt.errors import ExtractionError, InputError

    known = (InputError, ExtractionError, HydraException, OmegaConfBaseException)
    if isinstance(error, known):
        return explain(error) or str(error)
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return None
