"""Tracing: the zero set alone, followed region by region."""

from shapeopt.extraction.tracing.extractor import Tracing

__all__ = ["Tracing"]
