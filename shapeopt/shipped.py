"""Where the files are that come with the package: ``conf/`` and ``data/bunny.ply``."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """The folder that holds them: inside an installed wheel, or the root of a checkout."""
    share = PACKAGE / "share"  # a wheel alone has it
    return share if share.is_dir() else PACKAGE.parent


def find_file(path: str | Path) -> Path:
    """The path itself; or what ships under it, as ``data/bunny.ply``, if there is nothing else."""
    path = Path(path)
    shipped = shipped_folder() / path
    return shipped if not path.exists() and shipped.exists() else path
