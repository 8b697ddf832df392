"""``python train.py experiment=bunny``: the same as ``shapeopt train experiment=bunny``."""

import sys

from shapeopt.commands.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
