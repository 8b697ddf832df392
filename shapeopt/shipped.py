"""Where the files are that come with the package: ``conf/`` and ``data/bunny.ply``."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """The folder that holds them: inside an installed wheel, or the root of a checkout."""
    share = PACKAGE / "share"  # a wheel alone has it
    return share if share.is_dir() else PACKAGE.parent
