"""The types of arguments: a word of the command line as a value, or an error that says what was expected."""

import argparse
import csv
import re

from undiffuse.core.errors import UserError


def several(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def whole(text: str) -> int:
    """A whole number; 10_000 is one."""
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}") from None


def wholes(text: str) -> list[int]:
    """Whole numbers between commas."""
    return [whole(word) for word in several(text)]


def labels(text: str) -> list[str] | dict[str, list[str]]:
    """Labels by name; see `undiffuse.condition.read.words`."""
    from undiffuse.condition.read import words

    try:
        return words(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def conditions(text: str) -> dict[str, list[str]]:
    """``age=30,40,species=cat``: a word without = belongs to the condition before it."""
    found = labels(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, as age=30, not {text!r}")
    return found


def columns(text: str) -> dict[str, str]:
    """``education=Bachelors,age=30``; a value with a comma is quoted, ``city="New York, NY"``, or the pair is."""
    found = {}
    for word in next(csv.reader([re.sub(r'(^|,)([^",=]*)="', r'\1"\2=', text)], skipinitialspace=True), []):
        name, equals, value = word.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(
                f'expected COLUMN=VALUE, as age=30, not {word!r}; a value with a comma is quoted: city="New York, NY"'
            )
        found[name.strip()] = value.strip()
    return found


def levels(text: str) -> tuple[float, float]:
    """Two noise levels: ``0.2,5``."""
    words = several(text)
    if len(words) != 2:
        raise argparse.ArgumentTypeError(f"expected two noise levels, as 0.2,5, not {text!r}")
    return number(words[0]), number(words[1])


def scales(text: str) -> tuple[float, ...]:
    """A guidance scale, or a range of them: ``1,4``."""
    words = several(text)
    if not 1 <= len(words) <= 2:
        raise argparse.ArgumentTypeError(f"expected a scale, as 2, or a range, as 1,4, not {text!r}")
    return tuple(map(number, words))


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}") from None
