"""Exact geometry of ReLU networks; knows networks, and nothing of training."""
