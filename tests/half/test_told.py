"""That half precision is slow on a processor that imitates it is said before a training begins."""

import pytest

from undiffuse.cli import main
from undiffuse.train import loop


@pytest.mark.parametrize(("fast", "precision", "said"), [(False, "bf16", 1), (True, "bf16", 0), (False, "fp32", 0)])
def test_imitated_half_precision_is_told(fast, precision, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "half_is_fast", lambda device: fast)
    words = ["--width", "8", "--steps", "1", "--batch", "4", "--quiet", "--out", str(tmp_path / "run")]
    assert main(["train", "swiss-roll", "--precision", precision, *words]) == 0
    assert capsys.readouterr().err.count("--precision fp32 is faster") == said
