"""What conditions mean, as plain values: stored with the data, and in the model's file as JSON.

    {"label": Labels(("cat", "dog")), "age": Numbers(("age",), ...)}             Specifications, in a fixed order

    Labels    one of some names          values (batch,) int64, below the number of names
    Numbers   some columns of numbers    values (batch, columns) float32, standardised
    Vector    an embedding               values (batch, width) float32, unchanged; with a width more, its noise, if
                                         it diffuses with x (`undiffuse.condition.diffused`)
    Text      words, or tokens           values (batch, length) int64; the id ``vocabulary`` is padding
    Picture   pixels, beside x           `undiffuse.condition.picture`

Each reads a user's word as one value, converts a value to a word, and writes a batch for a file.
`undiffuse.condition.read` makes `Conditions` of a user's words; `undiffuse.condition.encoder` turns them into a
network's inputs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.diffused import beside_zeros, check_speed
from undiffuse.condition.picture import Picture
from undiffuse.condition.text import Lookup, TextEncoder
from undiffuse.condition.words import Reader, Words
from undiffuse.core.errors import SHORT, UserError, caution, nearest, shown

NONE = (None, "none")


@dataclass(frozen=True)
class Labels:
    """One of ``names``. A user gives a name, or its number."""

    names: tuple[str, ...]
    dtype: ClassVar[torch.dtype] = torch.int64

    def __post_init__(self) -> None:
        if not self.names:
            raise UserError("labels have at least one name")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return ()

    def read(self, said: Any, name: str) -> Tensor:
        """The index of a name or a number. Raises UserError for an unknown one, naming the nearest."""
        word = str(said.item() if isinstance(said, Tensor) else said)
        if word in self.names:
            return torch.tensor(self.names.index(word))
        if word.isdecimal() and int(word) < len(self.names):
            return torch.tensor(int(word))
        raise UserError(f"{nearest(word, self.names, name)} (or a number from 0 to {len(self.names) - 1}, or none)")

    def say(self, value: Tensor) -> str:
        """Its name."""
        return self.names[int(value)]

    def written(self, entry: Entry) -> np.ndarray:
        """The name of each row, (batch,); empty where it is absent."""
        rows = zip(entry.values.tolist(), entry.present.tolist(), strict=True)
        return np.array([self.names[value] if present else "" for value, present in rows], dtype=np.str_)

    def wrong(self, values: Tensor) -> str | None:
        """What is wrong with values (batch,), if anything."""
        low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        if low < 0 or high >= len(self.names):
            return f"runs from {low} to {high}; {len(self.names)} names allow 0 to {len(self.names) - 1}"
        return None


@dataclass(frozen=True)
class Numbers:
    """Some ``columns`` of numbers that are requested together, in the data's own units.

    mean, std    for standardising
    low, high    the range in the training data; a number outside it raises a warning
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    dtype: ClassVar[torch.dtype] = torch.float32

    def __post_init__(self) -> None:
        every = (self.mean, self.std, self.low, self.high)
        if not self.columns or any(len(each) != len(self.columns) for each in every):
            raise UserError("numbers have a mean, a deviation, a least and a largest of each column")
        if not all(math.isfinite(number) for each in every for number in each) or min(self.std) <= 0:
            raise UserError("the mean and the range of numbers are finite, and their deviation above 0")

    @classmethod
    def measure(cls, columns: Sequence[str], x: Tensor) -> Self:
        """From x (count, columns) float64, NaN where a number is missing; a constant column gets the deviation 1.

        Raises UserError for a column that is empty, or that holds infinite numbers.
        """
        found = []
        for name, column in zip(columns, x.double().unbind(1), strict=True):
            known = column[~column.isnan()]
            if not len(known) or not known.isfinite().all():
                what = "holds infinite numbers" if len(known) else "holds no number"
                raise UserError(f"the condition {name!r} {what}; correct it or leave it out")
            std = float(known.std(correction=0)) or 1.0
            found.append((float(known.mean()), std, float(known.min()), float(known.max())))
        return cls(tuple(columns), *(tuple(each) for each in zip(*found, strict=True)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return (len(self.columns),)

    def entry(self, x: Tensor) -> Entry:
        """Numbers (count, columns) in their own units, float64, as the entry of a batch; a row with a NaN is absent."""
        present = ~x.isnan().any(1)
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.std))
        return Entry(((x.double() - mean) / std).masked_fill(~present[:, None], 0.0).float(), present)

    def numbers(self, values: Tensor) -> Tensor:
        """The inverse: values (..., columns) in their own units, float64."""
        mean, std = (torch.tensor(each, dtype=torch.float64, device=values.device) for each in (self.mean, self.std))
        return values.double() * std + mean

    def read(self, said: Any, name: str) -> Tensor:
        """Numbers, standardised. Raises UserError for words, NaN, or too few or many; warns outside the range."""
        numbers = _numbers(said, name, len(self.columns))
        for column, number, low, high in zip(self.columns, numbers, self.low, self.high, strict=True):
            if not low <= number <= high:
                caution(f"{column}={number:g} is outside the training data, which has {low:g} to {high:g}")
        return self.entry(torch.tensor([numbers], dtype=torch.float64)).values[0]

    def say(self, value: Tensor) -> str:
        """The numbers, in their own units."""
        return ", ".join(f"{number:.4g}" for number in self.numbers(value).tolist())

    def written(self, entry: Entry) -> np.ndarray:
        """In their own units, (batch,) or (batch, columns), rounded to 1e-5 deviations; NaN where they are absent."""
        digits = [5 - math.floor(math.log10(std)) for std in self.std]
        columns = zip(self.numbers(entry.values).cpu().unbind(1), digits, strict=True)
        rounded = np.stack([np.round(column.numpy(), most) for column, most in columns], 1)
        rounded[~entry.present.cpu().numpy()] = np.nan
        return rounded[:, 0] if len(digits) == 1 else rounded

    def wrong(self, values: Tensor) -> str | None:
        """What is wrong with values (batch, columns), if anything."""
        return None if values.isfinite().all() else "holds NaN or infinite numbers"


@dataclass(frozen=True)
class Vector:
    """``width`` numbers, unchanged, such as an embedding of something else; ``speed`` as of `Picture`."""

    width: int
    speed: float = 0.0
    dtype: ClassVar[torch.dtype] = torch.float32

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UserError("a vector has at least 1 number")
        check_speed(self.speed)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return (self.width * (1 + (self.speed > 0)),)

    def entry(self, x: Tensor) -> Entry:
        """Vectors (count, width) as the entry of a batch."""
        return Entry(beside_zeros(x.float(), self.speed), torch.ones(len(x), dtype=torch.bool, device=x.device))

    def read(self, said: Any, name: str) -> Tensor:
        """Raises UserError for words, NaN, or too few or many."""
        return self.entry(torch.tensor([_numbers(said, name, self.width)])).values[0]

    def say(self, value: Tensor) -> str:
        """The first few."""
        shown = value[: min(4, self.width)].tolist()
        return ", ".join(f"{number:.3g}" for number in shown) + (", ..." if self.width > 4 else "")

    def written(self, entry: Entry) -> np.ndarray:
        """As they are, (batch, width); NaN where they are absent."""
        return entry._replace(values=entry.values[:, : self.width]).or_nan()

    def wrong(self, values: Tensor) -> str | None:
        """What is wrong with values (batch, width), if anything."""
        return None if values.isfinite().all() else "holds NaN or infinite numbers"


@dataclass(frozen=True)
class Text:
    """At most ``length`` tokens, ids below ``vocabulary``; a shorter text is padded with the id ``vocabulary``.

    reader     what makes ids of words; without one, a user gives ids
    encoder    what makes vectors of ids; see `undiffuse.condition.text`
    """

    length: int
    vocabulary: int
    reader: Reader | None = None
    encoder: TextEncoder = field(default_factory=Lookup)
    dtype: ClassVar[torch.dtype] = torch.int64

    def __post_init__(self) -> None:
        if min(self.length, self.vocabulary) < 1:
            raise UserError("a text has at least 1 token, of at least 1")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return (self.length,)

    def read(self, said: Any, name: str) -> Tensor:
        """Token ids, of words or as they are.

        Words that are not known are left out, and what is too long is cut, with a caution that says so. Raises
        UserError for no words, none that is known, anything else, and ids that are too many or not in the vocabulary.
        """
        if isinstance(said, str):
            return self.padded(self._ids(said, name))
        ids = torch.as_tensor(said).reshape(-1)
        if ids.is_floating_point():
            raise UserError(f"{name} is {'words' if self.reader else 'token ids'} here, not {said!r}")
        if len(ids) > self.length:
            raise UserError(f"{name} is at most {self.length} tokens, not {len(ids)}")
        filled = self.padded(ids.tolist())
        if (wrong := self.wrong(filled)) is not None:
            raise UserError(f"{name} {wrong}")
        return filled

    def _ids(self, said: str, name: str) -> list[int]:
        if self.reader is None:
            raise UserError(f"{name} is token ids here, at most {self.length} of them, not {said!r}")
        ids, unknown = self.reader.encode(said), self.reader.unknown(said)
        if not said.strip():
            raise UserError(f"{name} is empty; say what to draw, or none")
        if not ids:
            raise UserError(f"{name} has no word that this model knows; {self._knows(unknown)}")
        if unknown:
            caution(f"{name}: left out what this model does not know: {', '.join(unknown)}; {self._knows(unknown)}")
        if len(ids) > self.length:
            cut = self.reader.decode(ids[self.length :])
            caution(
                f"{name} is longer than the {self.length} tokens that this model reads; cut before: {shown(cut, SHORT)}"
            )
        return ids

    def _knows(self, unknown: Sequence[str]) -> str:
        """The known words nearest to unknown ones, or some of those that are known."""
        known = self.reader.known if isinstance(self.reader, Words) else ()
        close = dict.fromkeys(near for word in unknown for near in get_close_matches(word, known, n=1, cutoff=0.7))
        if close:
            return f"did you mean {' or '.join(close)}?"
        words = [word for word in known if word.isalnum()]
        return f"it knows {len(words)} words: {shown(', '.join(words))}"

    def padded(self, ids: Sequence[int]) -> Tensor:
        """Ids, cut or filled up to (length,)."""
        kept = ids[: self.length]
        return torch.tensor([*kept, *[self.vocabulary] * (self.length - len(kept))])

    def say(self, value: Tensor) -> str:
        """The words; the ids, where there is nothing to read them."""
        ids = [token for token in value.tolist() if token < self.vocabulary]
        return self.reader.decode(ids) if self.reader else " ".join(map(str, ids))

    def written(self, entry: Entry) -> np.ndarray:
        """The words of each row, (batch,), empty where it is absent; or the ids, (batch, length), filled up."""
        ids = entry.values.masked_fill(~entry.present[:, None], self.vocabulary).cpu()
        return ids.numpy() if self.reader is None else np.array([self.say(row) for row in ids], dtype=np.str_)

    def wrong(self, values: Tensor) -> str | None:
        """What is wrong with values (..., length), if anything."""
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) <= self.vocabulary:
            return f"has tokens from {int(values.min())} to {int(values.max())}; ids go from 0 to {self.vocabulary - 1}"
        return None


Specification = Labels | Numbers | Vector | Text | Picture
Specifications = Mapping[str, Specification]


def check(specifications: Specifications, conditions: Conditions) -> None:
    """Raises UserError, naming the condition, unless the conditions fit the specifications."""
    for name in conditions.entries:
        if name not in specifications:
            raise UserError(nearest(name, specifications, "condition"))
    for name, specification in specifications.items():
        if name not in conditions.entries:
            raise UserError(
                f"the condition {name!r} is missing; if it is absent in every row, give an entry that says so"
            )
        values, present = conditions.entries[name]
        if values.shape[1:] != specification.shape or values.dtype != specification.dtype:
            wanted = f"(batch, {', '.join(map(str, specification.shape))}) {specification.dtype}"
            raise UserError(f"the condition {name!r} is {wanted}, not {tuple(values.shape)} {values.dtype}")
        if (wrong := specification.wrong(values[present])) is not None:
            raise UserError(f"the condition {name!r} {wrong}")


def _numbers(said: Any, name: str, width: int) -> list[float]:
    """``width`` finite numbers, from a number or several, or from text with commas."""
    several = said.split(",") if isinstance(said, str) else said
    if isinstance(several, Tensor):
        several = several.tolist()
    try:
        numbers = [float(one) for one in (several if isinstance(several, list | tuple) else [several])]
    except (TypeError, ValueError):
        raise UserError(f"{name} is {_how_many(width)}, not {said!r}") from None
    if len(numbers) != width:
        raise UserError(f"{name} is {_how_many(width)}, not {len(numbers)}")
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"{name} must be finite, not {said}; if it is not known, leave it out, or give none")
    return numbers


def _how_many(width: int) -> str:
    return "a number" if width == 1 else f"{width} numbers"
