"""The site is built without a warning, where the packages of the extra `docs` are installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shapeopt import losses

ROOT = Path(__file__).resolve().parents[1]


def test_each_loss_has_a_formula_and_settings():
    table = yaml.safe_load((ROOT / "docs" / "losses.yaml").read_text(encoding="utf-8"))
    names = {path.stem for path in (ROOT / "conf" / "loss").glob("*.yaml")}
    assert set(table) == names
    for name, about in table.items():
        loss = getattr(losses, "".join(part.title() for part in name.split("_")))
        settings = (ROOT / "conf" / "loss" / f"{name}.yaml").read_text(encoding="utf-8")
        assert loss.__name__ in settings
        # What the formula names in words is a setting, of the loss or of its kind.
        words = set(re.findall(r"\\mathrm\{(\w+)\}", about["formula"])) - {"mean", "or", "ball"}
        assert words <= set(loss.__dataclass_fields__), name
        if "picture" in about:
            assert (ROOT / "experiments" / about["picture"]).exists()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index", "losses/face_count", "api/extraction", "tutorials/write_a_loss"):
        text = (tmp_path / f"{page}.html").read_text(encoding="utf-8")
        # Neither a role of Sphinx, nor anything that is fetched from elsewhere.
        assert not re.search(r":(func|class|meth):`", text)
        assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"https?:", text)
    # Measured alone: the one loss is, the other is not.
    for name, is_there in (("face_count", True), ("topology", False)):
        page = (tmp_path / "losses" / f"{name}.html").read_text(encoding="utf-8")
        assert ('id="alone"' in page) == is_there, name
