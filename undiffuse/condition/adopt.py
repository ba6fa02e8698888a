"""Conditions of a trained model that goes on with other data: what it knows stays, what is new begins without effect.

    adopt(encoder, specifications, theirs, their_specifications)  ->  lines that say what begins new

A condition that both have is copied. Labels are copied one by one, by name. What is new says nothing at first: a new
label what an absent one says, another new condition 0. What is no longer a condition goes on saying what it says where
it is absent. So at first the model answers as it did.
"""

from typing import Any

import torch

from undiffuse.condition.encoder import Encoder, LabelsEntry
from undiffuse.condition.specification import Labels, Specifications


@torch.no_grad()
def adopt(own: Encoder, specifications: Specifications, theirs: Encoder, before: Specifications) -> list[str]:
    """Give an encoder the weights of another with the same width; returns what begins new, a line for each condition.

    A text begins with the vectors that it was built with: what reads them is new too.
    """
    lines = []
    known: dict[str, Any] = dict(zip(theirs.names, theirs.entries, strict=True))
    for name, entry in zip(own.names, own.entries, strict=True):
        now, then = specifications[name], before.get(name)
        if now == then:
            entry.load_state_dict(known[name].state_dict())
        elif isinstance(now, Labels) and isinstance(then, Labels) and isinstance(entry, LabelsEntry):
            lines += _labels(name, entry, now, known[name], then)
        else:
            _silence(entry)
            lines.append(f"{name}: a new condition")
    for part in ("level", "second"):
        mine, other = getattr(own, part), getattr(theirs, part)
        if mine is not None and other is not None:
            mine.load_state_dict(other.state_dict())
    for name in (name for name in theirs.names if name not in own.names):
        if own.level is not None and "vector" in known[name].routes:
            own.level[-1].bias += known[name](None).vector[0]
        lines.append(f"{name}: no condition of this data; absent from now on")
    return lines


def _labels(name: str, entry: LabelsEntry, now: Labels, known: LabelsEntry, then: Labels) -> list[str]:
    """Each label's vector by its name; of a new one, that of none."""
    rows = [0, *(then.names.index(label) + 1 if label in then.names else 0 for label in now.names)]
    entry.table.weight.copy_(known.table.weight[rows])
    new = [label for label in now.names if label not in then.names]
    return [f"{name}: {len(new)} of {len(now.names)} labels are new, {', '.join(new[:5])}"] if new else []


def _silence(entry: Any) -> None:
    """Without effect on the vector; of a text, what makes its pooled vector."""
    for name, weight in entry.named_parameters():
        if entry.routes == ("vector",) or name.startswith(("pooled", "nothing")):
            weight.zero_()
