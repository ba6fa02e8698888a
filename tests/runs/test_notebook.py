"""A notebook shows what a terminal does, and pictures."""

import base64
import io

from PIL import Image

from undiffuse.measure.report import report
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import load
from undiffuse.train.loop import train

SHORT = RECIPES["swiss-roll"]().changed(width=8, depth=1, batch=16, steps=20, report_every=20)


def test_a_run_shows_its_facts_and_its_latest_picture(tmp_path):
    run = train(SHORT, tmp_path / "<mine>", quiet=True)
    shown = run._repr_html_()
    assert "20 of 20 steps" in shown and "&lt;mine&gt;" in shown and "<mine>" not in shown
    picture = base64.b64decode(shown.split("base64,")[1].split('"')[0])
    assert picture == run._repr_png_() == (run.folder / "pictures" / "000000020.png").read_bytes()
    assert Image.open(io.BytesIO(picture)).size[0] > 100
    (run.folder / "pictures" / "000000020.png").unlink()
    bare = load(run.folder)
    assert bare._repr_png_() is None and "<img" not in bare._repr_html_()


def test_a_report_shows_its_table():
    data = SHORT.data.open("train")
    found = report(data.x[:200], data.x[200:400], draws=1)
    assert "sliced Wasserstein" in found._repr_html_() and f"{found['MMD'].value:.3g}" in found._repr_html_()
