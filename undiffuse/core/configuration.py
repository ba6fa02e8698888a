"""Frozen dataclasses as plain values and back, by their type hints: what a recipe's file and the command line speak.

    MLP(width=256)                      <->   {"kind": "MLP", "width": 256, ...}
    override(recipe, "net.width", "64")  ->   the recipe with that one field changed
    override(recipe, "schedule", "flow") ->   the recipe with another class there, at its defaults

Which classes may stand in a field is what its hint says: a dataclass, a union of them, or an abstract class, whose
concrete subclasses are meant. There is no list of names to keep. Anything else that is unknown or of the wrong type is
a `UserError` of one line that says where, and names the nearest.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from undiffuse.core.errors import UserError, nearest

T = TypeVar("T")


def to_plain(value: Any, hint: Any = None) -> Any:
    """Dicts, lists, numbers, text: a dataclass is its fields, and its ``kind`` where the ``hint`` leaves a choice."""
    if is_dataclass(value):
        kind = {} if len(classes(hint)) == 1 else {"kind": type(value).__name__}
        hinted = hints(type(value))
        return kind | {f.name: to_plain(getattr(value, f.name), hinted[f.name]) for f in fields(value)}
    return [to_plain(entry) for entry in value] if isinstance(value, tuple) else value


def from_plain(hint: Any, value: Any, where: str = "") -> Any:
    """The inverse of `to_plain` for a value of type ``hint``; fields that are missing take their defaults.

    Raises:
        UserError: An unknown kind or field, a missing one, or a wrong type; ``where`` is what the message calls it.
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
    raise UserError(f"{where or 'value'}: expected {spoken(hint)}, not {value!r}")


def read(hint: Any, text: str, where: str = "") -> Any:
    """What a word on the command line means where a ``hint`` is expected.

    Numbers, ``true``, ``none`` and text as they are written; several values with commas; a class by its name, in any
    case and with hyphens or without (``--schedule zero-terminal``): it takes its defaults, which further overrides may
    change. One that needs some is written whole, ``{kind: Shifted, base: flow}``.

    Raises:
        UserError: An unknown class, or a wrong type; ``where`` is what the message calls it.
    """
    return from_plain(hint, _plain(hint, text), where)


def override(value: T, path: str, text: str) -> T:
    """A dataclass with the field at a dotted ``path`` replaced by what ``text`` says, as `read` reads it.

    Raises:
        UserError: An unknown field or class, or a wrong type.
    """
    return put(value, path, lambda hint: read(hint, text, path))


def put(value: T, path: str, made: Callable[[Any], Any]) -> T:
    """A dataclass with the field at a dotted ``path`` replaced by what is ``made`` of the field's hint."""
    return _put(value, path.split("."), made, path)


def find(value: Any, name: str) -> list[str]:
    """The paths at which a dataclass has a field called so: ``find(recipe, "time.start")``, model.loss.time.start."""
    return [path for path, _, _ in leaves(value) if f".{path}".endswith(f".{name}")]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every field that can be overridden: its dotted path, its type hint, and its value now."""
    for field in fields(value):
        name, inner, hint = f"{path}{field.name}", getattr(value, field.name), hints(type(value))[field.name]
        if not (is_dataclass(inner) and len(_options(hint)) == 1):  # else there is nothing to choose but its fields
            yield name, hint, inner
        if is_dataclass(inner):
            yield from leaves(inner, f"{name}.")


def kebab(name: str) -> str:
    """ZeroTerminal -> zero-terminal, CosineTable -> cosine-table, EDM -> edm."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def classes(hint: Any) -> dict[str, type]:
    """The dataclasses that may stand where ``hint`` is asked for, by name."""
    return {option.__name__: option for option in _options(hint) if isinstance(option, type) and is_dataclass(option)}


def class_of(hint: Any, name: object) -> type | None:
    """The one of `classes` that is called so, in any case and with hyphens or without."""
    return next((cls for known, cls in classes(hint).items() if _folded(known) == _folded(str(name))), None)


def choices(hint: Any) -> list[str]:
    """The words that may stand where ``hint`` is asked for; none where it is a number or a text."""
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
    kind = given.pop("kind", next(iter(known)) if len(known) == 1 else None)
    if kind is None:
        raise UserError(f"{where}: which kind? known: {', '.join(known)}")
    found = class_of(hint, kind)
    if found is None:
        raise UserError(_at(where, nearest(kebab(str(kind)), map(kebab, known), "kind")))
    hinted = hints(found)
    for name in given:
        if name not in hinted:
            raise UserError(_at(where, nearest(name, hinted, f"field of {found.__name__}")))
    for field in fields(found):
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING:
            missing = f"{found.__name__} needs a {field.name}: {{kind: {found.__name__}, {field.name}: ...}}"
            raise UserError(_at(where, missing))
    inner = {name: from_plain(hinted[name], entry, f"{where}.{name}".lstrip(".")) for name, entry in given.items()}
    try:
        return found(**inner)
    except ValueError as error:
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
        return [_scalar(part) for part in text.strip("()[] ").split(",") if part.strip()]
    is_text = str in options or (classes(hint) and not text.startswith("{"))
    return text if is_text else _scalar(text)


def _scalar(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
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
            return True, tuple(from_plain(hint, entry, where) for hint, entry in zip(each, value, strict=True))
    if option is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return True, float(value)  # YAML reads 1e-3 as text
        except ValueError:
            return False, None
    if option is int and isinstance(value, float | str):
        whole = _scalar(value.replace("_", "")) if isinstance(value, str) else value
        whole = float(whole) if isinstance(whole, str) and re.fullmatch(r"\d+e\d+", whole) else whole
        return (True, int(whole)) if isinstance(whole, int | float) and whole == int(whole) else (False, None)
    return isinstance(option, type) and type(value) is option, value


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
