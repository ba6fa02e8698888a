"""Are texts valid? A program that checks them says so, and what is wrong with the others.

Beside held-out texts, all of which are valid, and beside the same texts with the tokens of each in a random order: what
is got right by the right symbols alone.
"""

from collections import Counter
from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

from undiffuse.data.synthetic.checkable.checkable import Checkable
from undiffuse.measure.report import VALID, Row

SHUFFLED = "the same, of texts whose tokens are in a random order"
SHOWN = 3  # faults


def valid_rows(source: Checkable, samples: Tensor, held_out: Tensor, seed: int = 0) -> list[Row]:
    """The share of samples (n, length) that are valid, beside held-out texts; and the same of both in random order."""
    generator = torch.Generator().manual_seed(seed)
    both = [samples.cpu(), held_out[: len(samples)].cpu()]
    mixed = [x.gather(1, torch.rand(x.shape, generator=generator).argsort(1)) for x in both]
    (made, real), (chance, real_chance) = ([share_valid(source, x) for x in part] for part in (both, mixed))
    name = f"valid {source.items}"
    return [
        Row(name, made, real, nan, "higher", VALID),
        Row(f"{name}, shuffled", chance, real_chance, nan, "near floor", SHUFFLED),
    ]


def share_valid(source: Checkable, x: Tensor) -> float:
    """Of texts (n, length)."""
    found = faults(source, x)
    return found.count("") / len(found)


def faults(source: Checkable, x: Tensor) -> list[str]:
    """What is wrong with each of texts (n, length); empty for a valid one."""
    return [source.fault(source.alphabet.decode(text)) for text in x]


def commonest(found: Sequence[str]) -> str | None:
    """The faults that are found most often, with their shares of all texts; None if there are none."""
    counted = Counter(fault for fault in found if fault).most_common(SHOWN)
    return "; ".join(f"{fault} ({times / len(found):.0%})" for fault, times in counted) or None
