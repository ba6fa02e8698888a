"""Captions of rows as a condition: several for each row, of which training draws one in every step.

    captioned([("a red circle", "a circle"), ("two squares",), ()], Transformer())

The words are those of the captions, or a tokenizer's; see `undiffuse.condition.words`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.condition.conditions import Entry
from undiffuse.condition.specification import Text
from undiffuse.condition.text import Frozen, TextEncoder, Transformer
from undiffuse.condition.words import Reader, Tokenizer, Words
from undiffuse.core.errors import SHORT, UserError, shown

NAME = "text"  # of the condition
LONGEST = 77  # tokens: as CLIP has it


class Captioned(NamedTuple):
    """Captions as the parts of a data set."""

    specification: Text
    entry: Entry
    variants: Tensor | None  # (rows, several, length): each row's other captions
    notes: tuple[str, ...]


def captioned(
    captions: Sequence[Sequence[str]],
    encoder: TextEncoder,
    tokenizer: str | None = None,
    words: Sequence[str] | None = None,
) -> Captioned:
    """The captions of each row, none for a row without, as the condition `NAME`.

    Args:
        captions: Those of each row.
        encoder: What reads them; a frozen one has a tokenizer of its own.
        tokenizer: Of a Hugging Face model, by its folder; without one, the words of the captions are told apart.
        words: All that can occur, where that is known.

    Raises:
        UserError: No caption at all; a tokenizer that is not there.
    """
    texts = list(dict.fromkeys(text for several in captions for text in several))
    if not any(text.strip() for text in texts):
        raise UserError("no captions, or only empty ones")
    reader = _reader(texts, encoder, tokenizer, words)
    ids = {text: reader.encode(text) for text in texts}
    longest = max(map(len, ids.values()))
    of = Text(max(1, min(longest, LONGEST)), reader.size, reader, encoder)
    notes = []
    if longest > LONGEST:
        cut = [text for text in texts if len(ids[text]) > LONGEST]
        said = f"{len(cut):,} captions are longer than {LONGEST} tokens, such as {shown(repr(cut[0]), SHORT)}"
        notes.append(f"{said}: cut")
    table = torch.stack([of.padded(ids[text]) for text in texts])
    places, most = {text: k for k, text in enumerate(texts)}, max(map(len, captions))
    blank = [texts[0]]  # where a row has no caption, which is marked as absent
    rows = [[places[several[k % len(several)]] for k in range(most)] for several in (own or blank for own in captions)]
    values = table[torch.tensor(rows)]
    entry = Entry(values[:, 0].contiguous(), torch.tensor([bool(several) for several in captions]))
    return Captioned(of, entry, values[:, 1:].contiguous() if most > 1 else None, tuple(notes))


def _reader(texts: Sequence[str], encoder: TextEncoder, tokenizer: str | None, words: Sequence[str] | None) -> Reader:
    if isinstance(encoder, Frozen):
        if tokenizer is not None:
            raise UserError(f"{encoder.path} has a tokenizer of its own; leave tokenizer out")
        return Tokenizer(encoder.path)
    if tokenizer is not None:
        return Tokenizer(tokenizer)
    return Words.of(texts) if words is None else Words(tuple(sorted(words)))


Captioner = Callable[[Sequence[Sequence[str]]], Captioned]  # of the captions of each row
LEARNED: Captioner = partial(captioned, encoder=Transformer())
