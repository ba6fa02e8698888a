"""Every script of the gallery runs, at tiny settings, and leaves its picture; every picture is shown and explained."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
EXAMPLES, GALLERY = ROOT / "examples", ROOT / "docs" / "gallery"

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # matplotlib reading tensors

TINY = {
    "couplings": {"count": 40},
    "ddpm_swiss_roll": {"rows": 128, "epochs": 2, "count": 100, "steps": 20},
    "embeddings": {"levels": 50, "width": 16},
    "from_pictures": {"count": 20, "steps": 4, "components": 2},
    "langevin": {"count": 200, "steps": 5},
    "memorising_map": {"side": 12, "steps": 10},
    "projection": {"count": 50, "steps": 3, "levels": 4},
    "schedules": {"times": 50},
    "score_matching": {"count": 50, "steps": 3, "walk": 5, "levels": 3},
    "trajectories": {"count": 60, "exact": 20},
    "tuned": {"count": 20, "costs": (2, 3)},
}


def scripts() -> list[str]:
    return sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ("all", "demo", "gallery"))


@pytest.mark.parametrize("name", scripts())
def test_a_script_draws_its_picture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](tmp_path, **TINY[name])
    with Image.open(tmp_path / f"{name}.png") as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("L").getcolors()) > 10  # not blank
    assert capsys.readouterr().out  # the numbers that the gallery's text quotes


def test_every_script_has_its_picture_in_the_gallery_and_every_picture_its_script() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text()
    assert sorted(path.stem for path in GALLERY.glob("*.png")) == scripts()
    for name in scripts():
        assert f"gallery/{name}.png" in page and f"python examples/{name}.py" in page
        assert (GALLERY / f"{name}.png").stat().st_size < 200_000
