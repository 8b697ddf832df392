"""One reader for each kind of file: all of what it holds, or an error."""

from shapeopt.data.formats.raw import Polygons, RawCloud
from shapeopt.data.formats.readers import KNOWN, read_file

__all__ = ["KNOWN", "Polygons", "RawCloud", "read_file"]
