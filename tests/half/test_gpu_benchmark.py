"""What measures a GPU runs, in miniature, without one; and says in a line that there is none."""

import pytest
import torch

from benchmarks import gpu


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_in_miniature(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "STEPS", 40)
    monkeypatch.setattr(gpu, "ROWS", 2048)
    some = {name: gpu.SAMPLERS[name] for name in ("ddim", "dpm++2m")}
    monkeypatch.setattr(gpu, "SAMPLERS", some)
    assert gpu.main(["--device", "cpu", "--small"]) == 0
    table = capsys.readouterr().out
    assert table.count("U-Net") == 4 and table.count("dpm++2m") == 1 and "wrong" not in table


@pytest.mark.parametrize("part", ["agreement", "samplers"])
def test_what_is_wrong_ends_with_1(part, capsys, monkeypatch):
    for name in ("networks", "agreement", "samplers"):
        monkeypatch.setattr(gpu, name, lambda *_, name=name: name != part)
    assert gpu.main(["--device", "cpu", "--small"]) == 1
