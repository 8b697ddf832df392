"""The polygon mesh that is the zero set of a network."""

from __future__ import annotations
