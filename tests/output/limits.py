"""A disk that is full, without filling one."""

from contextlib import contextmanager

import pytest


@contextmanager
def small_files():
    """No file may grow beyond 4096 bytes; how a full disk shows. The tests' own log is one, too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
