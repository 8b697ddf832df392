"""Tracing: the zero set alone, followed region by region."""
