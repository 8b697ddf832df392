"""``python -m shapeopt``: the same as ``shapeopt``."""

from shapeopt.commands.main import main

if __name__ == "__main__":
    main()
