"""A heartbeat: a row of bits with a beat at every fifth place, the phase unknown (Sohl-Dickstein et al. 2015).

A small benchmark of likelihoods: each bit alone has little information, all together determine the sequence. As the
phases are equally likely, the entropy of a sequence is exactly log(period).
"""

import torch

from undiffuse.core.errors import UserError
from undiffuse.core.memory import require
from undiffuse.data.alphabet import Characters
from undiffuse.data.dataset import Dataset


def heartbeat(count: int, length: int = 20, period: int = 5) -> Dataset:
    """``count`` sequences (count, length) of bits, the phases in turn. Raises UserError if there is not one full
    period, or one sequence of each phase."""
    if period < 2 or length < period or count < period:
        raise UserError(
            f"a heartbeat needs a period of at least 2, and at least as many bits and sequences as that, not period "
            f"{period}, length {length}, count {count}"
        )
    require(10 * count * length, f"{count:,} heartbeats of {length:,} bits")
    phase, place = torch.arange(count) % period, torch.arange(length)
    bits = (place % period == phase[:, None]).to(torch.uint8)
    return Dataset(bits, kind="text", alphabet=Characters(("0", "1")), name="heartbeat")
