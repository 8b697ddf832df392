"""The networks one can train, and the affine view of a module that extraction works on."""

from shapeopt.networks.convex_union import ConvexUnion
from shapeopt.networks.dense_mlp import dense_sdf_network
from shapeopt.networks.encoding import EncodedNetwork
from shapeopt.networks.loading import load_network
from shapeopt.networks.relu_mlp import sdf_network

__all__ = ["ConvexUnion", "EncodedNetwork", "dense_sdf_network", "load_network", "sdf_network"]
