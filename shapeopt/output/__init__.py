"""What is written for people and other programs: meshes, pictures, report, log."""

from shapeopt.output.run_log import RunLog

__all__ = ["RunLog"]
