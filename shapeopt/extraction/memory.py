"""How much memory an extraction may hold, and the error when it would need more."""

import contextlib
import os
from pathlib import Path

import torch

from shapeopt.errors import ExtractionError

FRACTION_OF_FREE = 0.85
"""What an extraction takes of the memory that is free when it starts, unless told otherwise."""


class Budget:
    """A limit on the bytes an extraction holds.

    Args:
        max_bytes: the limit; most of what the device has free if None.
        device: where the extraction runs.
    """

    def __init__(self, max_bytes: int | None, device: torch.device):
        free = int(FRACTION_OF_FREE * _free_bytes(device))
        self.max_bytes = free if max_bytes is None else max_bytes
        self.reservable = min(free, self.max_bytes)

    def check(self, needed: int, layer: int, neuron: int, vertices: int, edges: int) -> None:
        """Raises ExtractionError if ``needed`` bytes pass the limit."""
        if needed > self.max_bytes:
            raise ExtractionError(
                f"stopped at neuron {neuron} of layer {layer} with {vertices:,} vertices and "
                f"{edges:,} edges: going on needs {needed / 1e9:.3g} GB, more than the "
                f"{self.max_bytes / 1e9:.3g} GB allowed. Raise max_bytes= if the machine has "
                "more, use float32, a smaller box, or extract only the surface"
            )


def _free_bytes(device: torch.device) -> int:
    """Bytes that can still be had on the device, a container's limit included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    free = _available_ram()
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(free, 0)


def _available_ram() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30
