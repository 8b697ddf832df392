"""The polygon mesh that losses, output and simplify see; knows nothing of networks."""
