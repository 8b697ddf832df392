"""What is written for people and other programs: meshes, pictures, report, log.

The log is imported at its first use: a word to the user need not wait for torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapeopt.output.run_log import RunLog

__all__ = ["RunLog"]


def __getattr__(name: str) -> Any:
    if name != "RunLog":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shapeopt.output.run_log import RunLog

    return RunLog
