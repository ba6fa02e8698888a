"""Frozen dataclasses as plain values and back, by their type hints: the language of recipe files and command line.

    MLP(width=256)                      <->   {"kind": "MLP", "width": 256, ...}
    from_json(tuple[int, ...], "[1, 2]")  ->   (1, 2)
    override(recipe, "net.width", "64")  ->   the recipe with that one field changed
    override(recipe, "schedule", "flow") ->   the recipe with another class there, at its defaults

The type hint of a field says which classes it accepts: a dataclass, a union of them, or the concrete subclasses of an
abstract class. So there is no list of names to maintain. Anything unknown or of the wrong type raises a `UserError` of
one line that says where it is, and names the nearest valid name.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from undiffuse.core.errors import SHORT, UserError, nearest, shown

T = TypeVar("T")
LARGEST = 2**63 - 1  # the largest whole number of a tensor


def to_values(value: Any, hint: Any = None) -> Any:
    """Dicts, lists, numbers, text: a dataclass becomes its fields, and its ``kind`` if the ``hint`` leaves a choice."""
    if is_dataclass(value):
        kind = {} if len(classes(hint)) == 1 else {"kind": type(value).__name__}
        hinted = hints(type(value))
        return kind | {f.name: to_values(getattr(value, f.name), hinted[f.name]) for f in fields(value)}
    if isinstance(value, dict):
        inner = get_args(hint)[1] if get_origin(hint) in (dict, Mapping) else None
        return {key: to_values(entry, inner) for key, entry in value.items()}
    return [to_values(entry) for entry in value] if isinstance(value, tuple) else value


def from_values(hint: Any, value: Any, where: str = "") -> Any:
    """The inverse of `to_values` for a value of type ``hint``; fields that are missing take their defaults.

    Raises:
        UserError: An unknown kind or field, a missing one, or a wrong type; the message calls it ``where``.
    """
    options = _options(hint)
    if value is None and NoneType in options:
        return None
    if isinstance(value, dict) and any(is_dataclass(option) for option in options):
        return _dataclass(hint, value, where)
    if isinstance(value, str) and any(is_dataclass(option) for option in options):
        return _dataclass(hint, {"kind": value}, where)
    for option in options:
        known, converted = _simple(option, value, where)
        if known:
            return converted
    raise UserError(f"{where or 'value'}: expected {spoken(hint)}, not {shown(repr(value), SHORT)}")


def from_json(hint: Any, text: str | bytes, where: str) -> Any:
    """The value of type ``hint`` that a text in JSON holds.

    Raises:
        UserError: Not JSON, or of another type; the message begins with ``where``, the name of the file.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error})") from None
    return from_values(hint, value, where)


def from_texts(cls: type[T], texts: Mapping[str, str], where: str) -> T:
    """The inverse of `to_texts`; texts that are no fields of the class are ignored.

    Raises:
        UserError: A field is missing, or not of its type; the message begins with ``where``, the name of the file.
    """
    given = {}
    for name, hint in hints(cls).items():
        if name in texts:
            is_text = all(option in (str, NoneType) or get_origin(option) is Literal for option in _options(hint))
            given[name] = (from_values if is_text else from_json)(hint, texts[name], f"{where}: {name}")
    return cast(T, _made(cls, given, where))


def to_texts(value: Any) -> dict[str, str]:
    """A dataclass as texts by name, for the header of a safetensors file: text unchanged, everything else as JSON.

    None is left out.
    """
    hinted = hints(type(value))
    plain = {name: to_values(getattr(value, name), hint) for name, hint in hinted.items()}
    present = {name: entry for name, entry in plain.items() if entry is not None}
    return {name: entry if isinstance(entry, str) else json.dumps(entry) for name, entry in present.items()}


def read(hint: Any, text: str, where: str = "") -> Any:
    """The value of type ``hint`` that a word on the command line means.

    Numbers, ``true``, ``none`` and text as they are written; several values with commas; a class by its name, in any
    case, with hyphens or without (``--schedule zero-terminal``). The class takes its defaults, which further overrides
    may change. A class that has a field without default is written in full, ``{kind: Shifted, base: flow}``.

    Raises:
        UserError: An unknown class, or a wrong type; the message calls it ``where``.
    """
    return from_values(hint, _plain(hint, text), where)


def override(value: T, path: str, text: str) -> T:
    """A dataclass with the field at a dotted ``path`` replaced by the value that `read` reads from ``text``.

    Raises:
        UserError: An unknown field or class, or a wrong type.
    """
    return put(value, path, lambda hint: read(hint, text, path))


def put(value: T, path: str, made: Callable[[Any], Any]) -> T:
    """A dataclass with the field at a dotted ``path`` replaced by ``made(hint of the field)``."""
    return _put(value, path.split("."), made, path)


def find(value: Any, name: str) -> list[str]:
    """The paths of a dataclass's fields that end in ``name``: ``find(recipe, "time.start")`` is
    model.loss.time.start."""
    return [path for path, _, _ in leaves(value) if f".{path}".endswith(f".{name}")]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every field that can be overridden: its dotted path, its type hint, and its value."""
    for field in fields(value):
        name, inner, hint = f"{path}{field.name}", getattr(value, field.name), hints(type(value))[field.name]
        if not (is_dataclass(inner) and len(_options(hint)) == 1):  # else only its fields can be chosen
            yield name, hint, inner
        if is_dataclass(inner):
            yield from leaves(inner, f"{name}.")


def kebab(name: str) -> str:
    """ZeroTerminal -> zero-terminal, CosineTable -> cosine-table, EDM -> edm."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def classes(hint: Any) -> dict[str, type]:
    """The dataclasses that a field with this ``hint`` accepts, by name."""
    return {option.__name__: option for option in _options(hint) if isinstance(option, type) and is_dataclass(option)}


def class_of(hint: Any, name: object) -> type | None:
    """The one of `classes` with this name, or ``formerly`` with it; in any case, with hyphens or without."""
    wanted = _folded(str(name))
    named = {_folded(known): cls for cls in classes(hint).values() for known in (formerly(cls), cls.__name__)}
    return named.get(wanted) if wanted else None


def formerly(cls: type) -> str:
    """The name of a class in older files; empty for most."""
    return str(vars(cls).get("formerly", ""))


def choices(hint: Any) -> list[str]:
    """The words that a field with this ``hint`` accepts; none if it takes a number or a text."""
    words: list[str] = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            words += map(str, get_args(option))
        elif isinstance(option, type) and is_dataclass(option):
            words.append(kebab(option.__name__))
        elif option in (bool, NoneType):
            words += ["true", "false"] if option is bool else ["none"]
    return words


def hints(cls: type) -> dict[str, Any]:
    """The type hint of every field of a dataclass."""
    found = get_type_hints(cls)
    return {field.name: found[field.name] for field in fields(cls)}


def spoken(hint: Any) -> str:
    """A type hint in words."""
    words = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            words += [str(choice) for choice in get_args(option)]
        elif get_origin(option) is tuple:
            words.append(f"values like {spoken(get_args(option)[0])},...")
        elif get_origin(option) is dict:
            words.append(f"{spoken(get_args(option)[1])} by name")
        elif option is NoneType:
            words.append("none")
        elif isinstance(option, type) and is_dataclass(option):
            words.append(kebab(option.__name__))
        else:
            words.append({int: "a whole number", float: "a number", bool: "true or false", str: "text"}[option])
    return " or ".join(words) if len(words) < 3 else "one of " + ", ".join(words)


def _dataclass(hint: Any, value: dict[str, Any], where: str) -> Any:
    known = classes(hint)
    given = dict(value)
    only = next(iter(known.values())) if len(known) == 1 else None
    is_field = only is not None and "kind" in hints(only)  # so "kind" does not name the class
    kind = only.__name__ if only and is_field else given.pop("kind", only and only.__name__)
    if kind is None:
        raise UserError(f"{where}: which kind? known: {', '.join(known)}")
    found = class_of(hint, kind)
    if found is None:
        raise UserError(_at(where, nearest(kebab(str(kind)[:SHORT]), map(kebab, known), "kind")))
    hinted = hints(found)
    for name in given:
        if name not in hinted:
            raise UserError(_at(where, nearest(name, hinted, f"field of {found.__name__}")))
    inner = {name: from_values(hinted[name], entry, f"{where}.{name}".lstrip(".")) for name, entry in given.items()}
    return _made(found, inner, where)


def _made(found: type, given: dict[str, Any], where: str) -> Any:
    """A dataclass from values of its fields' types. Raises UserError if one is missing, or the class rejects one."""
    for field in fields(found):
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING:
            missing = f"{found.__name__} needs a {field.name}: {{kind: {found.__name__}, {field.name}: ...}}"
            raise UserError(_at(where, missing))
    try:
        return found(**given)
    except (ValueError, OverflowError) as error:
        raise UserError(_at(where, str(error))) from None


def _put(value: Any, path: list[str], made: Callable[[Any], Any], whole: str) -> Any:
    name, *rest = path
    hinted = hints(type(value))
    if name not in hinted:
        raise UserError(nearest(name, hinted, f"field of {type(value).__name__}"))
    now = getattr(value, name)
    if not rest:
        return replace(value, **{name: made(hinted[name])})
    if not is_dataclass(now):
        raise UserError(f"{whole}: {name} is {spoken(hinted[name])}, it has no {'.'.join(rest)}")
    return replace(value, **{name: _put(now, rest, made, whole)})


def _plain(hint: Any, text: str) -> Any:
    """A word on the command line as a plain value."""
    options = _options(hint)
    if text.lower() in ("none", "null") and NoneType in options:
        return None
    if any(get_origin(option) is tuple for option in options) and ("," in text or len(options) == 1):
        return [scalar(part) for part in text.strip("()[] ").split(",") if part.strip()]
    is_text = str in options or (classes(hint) and not text.startswith("{"))
    return text if is_text else scalar(text)


def scalar(text: str) -> Any:
    """What a word is in YAML; the word itself where it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: thousands of digits, the 31st of June
        return text


def _simple(option: Any, value: Any, where: str) -> tuple[bool, Any]:
    """Whether ``value`` is a value of a type without fields, and the value itself in that type."""
    origin = get_origin(option)
    if origin is Literal:
        if value in get_args(option):
            return True, value
        if isinstance(value, str):
            raise UserError(_at(where, nearest(value, map(str, get_args(option)), "choice")))
    if origin is tuple and isinstance(value, list | tuple):
        inner = get_args(option)
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(each) == len(value):
            return True, tuple(from_values(hint, entry, where) for hint, entry in zip(each, value, strict=True))
    if origin is dict and isinstance(value, dict):
        key_hint, hint = get_args(option)
        entries = ((from_values(key_hint, key, where), from_values(hint, entry, where)) for key, entry in value.items())
        return True, dict(entries)
    if option in (int, float) and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _whole(value, where) if option is int else _real(value)
    return isinstance(option, type) and type(value) is option, value


def _real(value: int | float | str) -> tuple[bool, float | None]:
    """As `_simple`, for numbers; YAML reads 1e-3 as text."""
    try:
        return True, float(value)
    except (ValueError, OverflowError):
        return False, None


def _whole(value: int | float | str, where: str) -> tuple[bool, int | None]:
    """As `_simple`, for whole numbers: 3, 3.0, 1_000, 1e3."""
    whole = scalar(value.replace("_", "")) if isinstance(value, str) else value
    whole = float(whole) if isinstance(whole, str) and re.fullmatch(r"\d{1,3}e\d{1,3}", whole) else whole
    if type(whole) not in (int, float) or (isinstance(whole, float) and not whole.is_integer()):
        return False, None
    if abs(whole) > LARGEST:
        raise UserError(_at(where, f"whole numbers go up to {LARGEST}, and this one is larger"))
    return True, int(whole)


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, abstract classes replaced by their concrete subclasses."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(concrete for member in members for concrete in _concrete(member))


def _concrete(cls: Any) -> list[Any]:
    if not inspect.isclass(cls) or not inspect.isabstract(cls):
        return [cls]
    return [found for child in cls.__subclasses__() for found in _concrete(child) if is_dataclass(found)]


def _folded(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _at(where: str, message: str) -> str:
    return f"{where}: {message}" if where else message
