"""Where half precision is worth it."""

import pytest
import torch

from undiffuse.core.half import half_is_fast

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("able", "fast"), [({}, False), ({"avx512_bf16": False}, False), ({"amx_bf16": True}, True)])
def test_a_processor_without_the_arithmetic_is_slow(able, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert half_is_fast(CPU) is fast and half_is_fast(GPU)


def test_a_torch_that_cannot_tell_is_believed_fast(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert half_is_fast(CPU)
