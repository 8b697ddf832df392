"""Well-known scans, downloaded on first use and checked against published checksums."""

from dataclasses import dataclass
from pathlib import Path

from shapeopt.errors import InputError
from shapeopt.shipped import shipped_folder


@dataclass(frozen=True)
class Scan:
    """Where a scan comes from, and the names under which a copy put there by hand is found."""

    url: str
    checksum: str  # algorithm:hex digits
    file_name: str
    other_stems: tuple[str, ...]


_OPEN3D = "https://github.com/isl-org/open3d_downloads/releases/download/20220201-data/"
_DRAGON_SHA512 = (
    "87cb1200d6846cdff70e13e1b3683966f88000d35dd938ecb8c7d3cee818e3e7"
    "e99e79f2ec8f0769ea8d5222ba1ea19888e4017e82c6753d7ae9c20bb3a545cb"
)

# All three were scanned by the Stanford Computer Graphics Laboratory. Addresses and checksums
# of the first two are published in Open3D (cpp/open3d/data/dataset/BunnyMesh.cpp and
# ArmadilloMesh.cpp), of the last in VTK (Testing/Data/dragon.ply.sha512 and
# CMake/vtkExternalData.cmake).
SCANS = {
    "stanford_bunny": Scan(
        url=_OPEN3D + "BunnyMesh.ply",
        checksum="md5:568f871d1a221ba6627569f1e6f9a3f2",
        file_name="BunnyMesh.ply",
        other_stems=("bunny",),
    ),
    "armadillo": Scan(
        url=_OPEN3D + "ArmadilloMesh.ply",
        checksum="md5:9e68ff1b1cc914ed88cd84f6a8235021",
        file_name="ArmadilloMesh.ply",
        other_stems=(),
    ),
    "dragon": Scan(
        url=f"https://www.vtk.org/files/ExternalData/SHA512/{_DRAGON_SHA512}",
        checksum=f"sha512:{_DRAGON_SHA512}",
        file_name="dragon.ply",
        other_stems=(),
    ),
}


def fetch_scan(name: str, folder: str | Path | None = None) -> Path:
    """The file of a scan, downloaded unless it is there.

    Args:
        name: a key of `SCANS`. Files that count as the scan are, for stanford_bunny,
            BunnyMesh, stanford_bunny, stanford-bunny and bunny with .ply, .obj or .stl.
        folder: where to look and to download to. None: look in the checkout's data/scans, then
            in the user's cache folder, and download to the latter.

    Raises:
        InputError: unknown name, or the download failed; then it says what to put where.
    """
    if name not in SCANS:
        raise InputError(f"there is no scan {name!r}; known are {', '.join(SCANS)}")
    scan = SCANS[name]
    if folder is not None:
        folders = [Path(folder)]
    else:
        folders = [shipped_folder() / "data" / "scans", cache_folder()]
    stems = (Path(scan.file_name).stem, name, name.replace("_", "-"), *scan.other_stems)
    for place in folders:
        for stem in stems:
            for suffix in (".ply", ".obj", ".stl"):
                if (place / (stem + suffix)).is_file():
                    return place / (stem + suffix)
    return _download(name, scan, folders[-1])


def cache_folder() -> Path:
    """Where downloads are kept: ~/.cache/shapeopt, or what the system has for it."""
    import pooch

    return Path(pooch.os_cache("shapeopt"))


def _download(name: str, scan: Scan, folder: Path) -> Path:
    import pooch

    try:
        pooch.retrieve(scan.url, scan.checksum, fname=scan.file_name, path=folder)
    except (OSError, ValueError) as error:  # no network, or not the file it should be
        raise InputError(
            f"the scan {name} could not be downloaded ({error}). Get {scan.url} in some other "
            f"way and save it as {folder / scan.file_name}"
        ) from error
    return folder / scan.file_name
