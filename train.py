"""Trains as configured: ``python train.py experiment=bunny``. See conf/config.yaml."""

import os
import sys
from pathlib import Path

# Errors come to this file as they are; what a user can mend is printed in one line.
os.environ.setdefault("HYDRA_FULL_ERROR", "1")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from shapeopt.errors import ExtractionError, InputError
from shapeopt.training.resuming import resumed_config
from shapeopt.training.run import run


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    resume = config.resume
    if resume is not None:
        config = resumed_config(Path(resume), config, hydra_config)
    finished = run(config, Path(hydra_config.runtime.output_dir), resume and Path(resume))
    if not finished:
        raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main()
    except (InputError, ExtractionError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(
            f"error: {error.filename}: {error.strerror}. To write elsewhere, set output=FOLDER"
        )
    except KeyboardInterrupt:
        sys.exit(130)
