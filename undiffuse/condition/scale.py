"""The guidance scale as a condition: of a student whose teacher was guided by every scale of a range.

It is an ordinary `Numbers` of the name ``guidance``. In training each row draws its own; a row without one, a share of
``DROPOUT``, is taught by the teacher's default, and so is a sample that asks for none.
"""

import math

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Numbers
from undiffuse.core.noise import Noise

NAME = "guidance"
DROPOUT = 0.1


def scales(low: float, high: float) -> Numbers:
    """What is said of a scale: any number from ``low`` to ``high``."""
    return Numbers((NAME,), (0.5 * (low + high),), ((high - low) / math.sqrt(12),), (low,), (high,))


def with_drawn(conditions: Conditions, noise: Noise) -> Conditions:
    """Each row with a scale of its own, uniform over the range, or with none."""
    like = torch.empty(len(conditions), 1, device=next(iter(conditions.entries.values())).present.device)
    standard = (2 * noise.uniform(like) - 1) * math.sqrt(3)
    present = noise.uniform(like)[:, 0] >= DROPOUT
    return Conditions({**conditions.entries, NAME: Entry(standard, present)})


def with_none(conditions: Conditions) -> Conditions:
    """The same, without a scale where they speak of none."""
    if NAME in conditions.entries:
        return conditions
    like = next(iter(conditions.entries.values())).present
    nothing = Entry(torch.zeros(len(like), 1, device=like.device), torch.zeros_like(like))
    return Conditions({**conditions.entries, NAME: nothing})


def taken(conditions: Conditions, of: Numbers, default: float) -> tuple[Tensor, Conditions | None]:
    """The scale of each row (batch,), ``default`` where it has none, and the other conditions."""
    values, present = conditions.entries[NAME]
    others = conditions.only(*(name for name in conditions.entries if name != NAME))
    return torch.where(present, values[:, 0] * of.std[0] + of.mean[0], default), others
