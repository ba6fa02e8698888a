"""Words as conditions: what a user requests, as the rows that samples take in turn.

    read(specifications, {"label": "3", "age": 30})
    read(specifications, {"digit": ["3", "5"], "colour": "red"})      two rows: every combination
    read(specifications, [{"digit": 3, "colour": "red"}, {"digit": 5, "colour": "blue"}])      these two

If labels are left out, samples take all of them in turn; any other condition that is left out is absent. "none" is
absent. A label may also be given by its number, and -1 is none, as in files.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import NONE, Labels, Specification, Specifications, Text, check
from undiffuse.core.errors import UserError, nearest, shown

Row = Mapping[str, Any]
Request = Conditions | Row | Sequence[Row] | None
LABEL = "label"
NONE_OF_LABELS = (-1, "-1")


def words(text: str) -> list[str] | dict[str, list[str]]:
    """``3,5``, or for several attributes ``digit=3,5,colour=red``: a word without = belongs to the attribute before it.

    Raises UserError if the first word has no attribute and others have one.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if "=" not in text:
        return found
    request: dict[str, list[str]] = {}
    name = ""
    for word in found:
        before, equals, value = word.partition("=")
        name = before.strip() if equals else name
        if not name:
            raise UserError(f"of which attribute is {word!r}? say ATTRIBUTE={word}")
        request.setdefault(name, []).append(value.strip() if equals else word)
    return request


def read(specifications: Specifications, request: Request, all_labels: bool = True) -> Conditions | None:
    """The requested rows, which samples take in turn; None for a model without conditions.

    If ``all_labels`` is false, labels that are left out are absent.

    Raises:
        UserError: An unknown condition or label, naming the nearest; a value that is no number, or of the wrong width;
            an empty list; any condition for a model without conditions.
    """
    if not specifications:
        if request:
            name = next(iter(request.entries if isinstance(request, Conditions) else _rows(request)[0]), LABEL)
            raise UserError(
                f"this model was trained without conditions; leave {name} out, or train on data that has some"
            )
        return None
    if isinstance(request, Conditions):
        check(specifications, request)
        return request
    rows = [row for one in _rows(request) for row in _combinations(specifications, one, all_labels)]
    if not rows:
        raise UserError("an empty list of conditions")
    return Conditions(
        {name: _entry(of, [row[k] for row in rows]) for k, (name, of) in enumerate(specifications.items())}
    )


def read_negative(specifications: Specifications, request: Row | None) -> Conditions | None:
    """The negative condition, a batch of one row with only the entries that are named; None if there is none.

    Raises UserError as `read` does, and for several values of one condition.
    """
    if not request:
        return None
    named = {name: _values(specifications, name, said) for name, said in request.items()}
    if several := next((name for name, values in named.items() if len(values) != 1), None):
        raise UserError(f"one negative {several}, not {len(named[several])}")
    return Conditions({name: _entry(specifications[name], values) for name, values in named.items()})


def with_label(specifications: Specifications, request: Request, label: Any) -> list[Row]:
    """The requested rows with ``label`` added: a name, several, a mapping, or a tensor of indices.

    Raises UserError for a model without labels, or if there are several attributes and the label does not name its own.
    """
    names = {name: of for name, of in specifications.items() if isinstance(of, Labels)}
    if not names:
        raise UserError("this model was trained without labels; leave the label out, or train on labelled data")
    if isinstance(label, Tensor):
        label = _of_tensor(names, label)
    return [row for more in _label_rows(names, label) for row in with_more(request, more)]


def name_of_text(specifications: Specifications, what: str = "text") -> str:
    """The condition that is a text. Raises UserError for a model of no words, with what it knows, or of several."""
    names = [name for name, of in specifications.items() if isinstance(of, Text)]
    if not names:
        known = "; ".join(f"{name}: {', '.join(getattr(of, 'names', ()))}" for name, of in specifications.items())
        raise UserError(
            f"this model was trained without words; leave {what} out, "
            + (f"and ask for what it knows ({shown(known)})" if known else "or train on data with captions")
        )
    if len(names) > 1:
        raise UserError(f"which {what}: {', '.join(names)}? say --cond {names[0]}=...")
    return names[0]


def parts_of(text: str) -> list[tuple[str, float]]:
    """``a red circle :2 AND a blue square``: texts to be guided to together, each with its weight, 1 unless said.

    Raises UserError for an empty one.
    """
    found = []
    for part in re.split(r"\bAND\b", text):
        words, weight = part.strip(), 1.0
        if match := re.fullmatch(r"(.*\S)\s*:\s*(-?\d+(?:\.\d*)?|-?\.\d+)", words):
            words, weight = match[1], float(match[2])
        if not words:
            raise UserError(f"an empty part in {text!r}; say as: a red circle :2 AND a blue square")
        found.append((words, weight))
    return found


def with_more(request: Request, more: Row) -> list[Row]:
    """The requested rows with further names. Raises UserError if the request is `Conditions` instead of words."""
    if isinstance(request, Conditions):
        raise UserError(f"give conditions as one Conditions or in words, not both; leave {next(iter(more))} out")
    return [{**row, **more} for row in _rows(request)]


def _label_rows(names: Mapping[str, Labels], label: Any) -> list[Row]:
    """A label as rows of the conditions that are labels."""
    if isinstance(label, Mapping):
        return [label]
    several = label if isinstance(label, list | tuple) else [label]
    if several and all(isinstance(one, Mapping) for one in several):
        return list(several)
    if not isinstance(label, list | tuple) and (label in NONE or label in NONE_OF_LABELS):
        return [dict.fromkeys(names)]
    if LABEL in names or len(names) == 1:
        return [{LABEL if LABEL in names else next(iter(names)): label}]
    example = ",".join(f"{name}={of.names[0]}" for name, of in names.items())
    raise UserError(f"a label here is of {' and '.join(names)}: {example}, not {label!r}")


def _of_tensor(names: Mapping[str, Labels], label: Tensor) -> list[Row]:
    """Rows of indices, (count,) or (count, attributes)."""
    columns = label.reshape(-1, 1) if len(names) == 1 else label
    if columns.ndim != 2 or columns.shape[1] != len(names):
        raise UserError(f"labels of {', '.join(names)} are (count, {len(names)}), not {tuple(label.shape)}")
    return [dict(zip(names, row, strict=True)) for row in columns.tolist()]


def _rows(request: Any) -> list[Row]:
    if request is None:
        return [{}]
    if isinstance(request, Mapping):
        return [request]
    if not isinstance(request, list | tuple) or not all(isinstance(one, Mapping) for one in request):
        raise UserError(f"conditions are given by name, as {{'label': '3'}} or label='3', not {request!r}")
    return list(request)


def _combinations(
    specifications: Specifications, request: Row, all_labels: bool
) -> Iterator[tuple[Tensor | None, ...]]:
    """All combinations of the values in one row of words; None is absent."""
    for name in request:
        if name not in specifications:
            raise UserError(nearest(str(name), specifications, "condition"))
    return product(*(_meant(specifications, name, request, all_labels) for name in specifications))


def _meant(specifications: Specifications, name: str, request: Row, all_labels: bool) -> list[Tensor | None]:
    of = specifications[name]
    if name in request:
        return _values(specifications, name, request[name])
    return [torch.tensor(k) for k in range(len(of.names))] if isinstance(of, Labels) and all_labels else [None]


def _values(specifications: Specifications, name: str, said: Any) -> list[Tensor | None]:
    """The values of one or several words; None is absent."""
    if name not in specifications:
        raise UserError(nearest(str(name), specifications, "condition"))
    of = specifications[name]
    return [None if _is_none(of, one) else of.read(one, name) for one in _several(of, said)]


def _several(of: Specification, said: Any) -> list[Any]:
    """A list of values; one value becomes a list of one. A value may itself be a list of numbers."""
    if not isinstance(said, list | tuple | Tensor):
        return [said]
    if isinstance(said, Tensor):
        return list(said) if said.ndim > len(of.shape) or (of.shape == (1,) and said.ndim) else [said]
    if isinstance(of, Text) and any(isinstance(one, str) for one in said):
        return list(said)
    if of.shape in ((), (1,)) or any(isinstance(one, list | tuple | Tensor) or one in NONE for one in said):
        return list(said)
    return [said]


def _is_none(of: Specification, said: Any) -> bool:
    if isinstance(said, Tensor):
        return isinstance(of, Labels) and bool(said < 0)
    if isinstance(said, list | tuple):
        return False
    return said in NONE or (isinstance(of, Labels) and said in NONE_OF_LABELS)


def _entry(of: Specification, values: Sequence[Tensor | None]) -> Entry:
    blank = torch.zeros(of.shape, dtype=of.dtype)
    present = torch.tensor([value is not None for value in values])
    return Entry(torch.stack([blank if value is None else value for value in values]), present)
