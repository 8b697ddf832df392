"""The exact surface and complex of a network, by two algorithms."""
