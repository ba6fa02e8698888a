"""Whether half precision is worth it on a device."""

import torch

ARITHMETIC = ("avx512_bf16", "amx_bf16", "bf16")  # instructions of processors that compute in bfloat16


def half_is_fast(device: torch.device) -> bool:
    """Whether a device computes in bfloat16. A processor that does not imitates it, several times slower than float32.

    Of a torch that cannot tell, the answer is yes.
    """
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return True
    able = torch.cpu.get_capabilities()
    return any(able.get(one, False) for one in ARITHMETIC)
