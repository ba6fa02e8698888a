"""Files as they come when something went wrong, or when somebody meant harm; each a function of a generator."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 2**31, 2**63, -(2**63) - 1, 10**30),
    *(1e308, 1e-320, float("nan"), float("inf"), "", " ", "x", "nan", "1e400", "9" * 5000, "a" * 5000, "null", "none"),
    *("\x1b[31mred", "[bold]b[/bold]", "[/]", "$x_", "$\\frac{1}$", "a\nb", "\x00", "\r", "\u202e", "\ud800", "日本"),
    *("../..", "/", "~nobody/x", "~", ".", "-1", "{", "kind", "MLP", "[]", "{}", "!!python/object:os.system"),
    *([], [[]], [None], {}, {"": ""}, {"kind": "MLP"}, {"kind": None}, {"a": {"b": []}}, [1, "2", None]),
)


def odd(random: Random) -> Any:
    """A value that nobody expects."""
    value = random.choice(ODD)
    return [value] * random.choice([1, 2, 3, 100]) if random.random() < 0.1 else value


def bent(value: Any, random: Random) -> Any:
    """A plain value with one place in it changed: replaced, removed, renamed, nested, or said twice."""
    places = list(_places(value))
    if not places or random.random() < 0.03:
        return odd(random)
    path = random.choice(places)
    value = json.loads(json.dumps(value))
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    last = path[-1]
    match random.randrange(7):
        case 0 if isinstance(inner, dict):
            inner[str(odd(random))] = inner.pop(last)
        case 1:
            del inner[last]
        case 2:
            inner[last] = [inner[last]]
        case 3:
            inner[last] = {"a": inner[last]}
        case 4 if isinstance(inner[last], list) and inner[last]:
            inner[last] = inner[last] * random.choice([2, 10])
        case 5 if isinstance(inner[last], int | float):
            inner[last] = inner[last] * random.choice([-1, 0, 0.5, 2, 1000, 10**9, 10**15])
        case _:
            inner[last] = odd(random)
    return value


def bytes_of(raw: bytes, random: Random) -> bytes:
    """Some bits flipped, a piece left out, doubled, or zeroed, or the end cut off."""
    data = bytearray(raw)
    for _ in range(random.choice([1, 1, 2, 10])):
        if not data:
            return random.randbytes(random.randrange(10))
        at, size = random.randrange(min(len(data), random.choice([64, 1024, 1 << 30]))), random.choice([1, 4, 100])
        match random.randrange(5):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + size] = random.randbytes(size)
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case _:
                if random.random() < 0.3:
                    del data[at:]
                else:
                    data[at : at + size] = random.choice([b"\0", b"\xff", b"\n", b'"', b",", b"-"]) * size
    return bytes(data)


def json_of(raw: bytes, random: Random) -> bytes:
    """JSON of another value."""
    return json.dumps(bent(json.loads(raw), random)).encode()


def yaml_of(raw: bytes, random: Random) -> bytes:
    """YAML of another value; sometimes with keys that are no text, or that holds itself."""
    match random.randrange(8):
        case 0:
            return raw + random.choice([b"? [a, b]\n: 1\n", b"1: 2\n", b"null: 2\n", b"? {a: b}\n: 1\n", b"true: 1\n"])
        case 1:
            return b"data: &a {kind: *a}\n" + raw if random.random() < 0.5 else raw + b"net: &a [*a]\n"
        case 2:
            return b"[" * 5000 if random.random() < 0.5 else b"data: &a {kind: Toy, name: *a}\nnet: *a\n"
        case 3:
            return bytes_of(raw, random)
        case _:
            bent_twice = bent(yaml.safe_load(raw), random)
            return yaml.safe_dump(bent_twice, allow_unicode=random.random() < 0.5).encode("utf-8", "surrogatepass")


def safetensors_of(raw: bytes, random: Random) -> bytes:
    """Another header: of its metadata, whose texts are often JSON themselves, or of its tensors."""
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    metadata = header.get("__metadata__", {})
    if metadata and random.random() < 0.8:
        name = random.choice(sorted(metadata))
        match random.randrange(6):
            case 0:
                del metadata[name]
            case 1:
                metadata[name] = str(odd(random))
            case _:
                metadata[name] = _bent_text(metadata[name], random)
    else:
        header = bent(header, random)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + raw[8 + size :]


def _bent_text(text: str, random: Random) -> str:
    try:
        return json.dumps(bent(json.loads(text), random))
    except ValueError:
        return str(odd(random))


def npy_of(raw: bytes, random: Random) -> bytes:
    """An array whose header says another type, order or shape."""
    (size,) = struct.unpack("<H", raw[8:10])
    types = ("|u1", "<f8", "<f4", "|b1", "<c8", "|S3", "<U2", "|O", "<M8[s]", "|V4", "nonsense")
    shapes = (
        *("()", "(0,)", "(1,)", "(-1,)", "(2, 0)", "(3, 3)", "(10, 2)", "(10**9, 10**9)", "(1000000000, 100000)"),
        *("(2, 3, 4)", "(2, 1, 2, 2)", "(2, 2, 2, 2, 2)", "None", "(None,)", "('a',)", "(2**70,)", "(5, 4)"),
    )
    shape, kind = random.choice(shapes), random.choice(types)
    header = f"{{'descr': '{kind}', 'fortran_order': {random.choice(['True', 'False', '1'])}, 'shape': {shape}, }}"
    header = header.ljust(len(header) + 63 - (len(header) + 10) % 64) + "\n"
    return raw[:8] + struct.pack("<H", len(header)) + header.encode() + raw[10 + size :]


def text_of(raw: bytes, random: Random) -> bytes:
    """A line or a cell that is another, one twice, or none."""
    lines = raw.decode("utf-8", "replace").split("\n")
    for _ in range(random.choice([1, 1, 3])):
        at = random.randrange(len(lines))
        cells = lines[at].split(",")
        match random.randrange(5):
            case 0:
                cells[random.randrange(len(cells))] = str(odd(random))
                lines[at] = ",".join(cells)
            case 1:
                lines[at] = lines[at] + str(odd(random))
            case 2:
                del lines[at]
                lines = lines or [""]
            case 3:
                lines[at:at] = [lines[at]] * random.choice([1, 5])
            case _:
                cells = [random.choice(["1", "2.5", "", "?", "1e999", "a", '"', "2026-01-01", *cells]) for _ in cells]
                lines[at] = ",".join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def with_checksum(tensors: Path) -> None:
    """Make a damaged saved state pass as a whole one, so that what is behind the checksum is tried."""
    told = tensors.with_suffix(".json")
    state = json.loads(told.read_text())
    state["bytes"], state["crc32"] = tensors.stat().st_size, zlib.crc32(tensors.read_bytes())
    told.write_text(json.dumps(state))


BY_ENDING: dict[str, Callable[[bytes, Random], bytes]] = {
    ".safetensors": safetensors_of,
    ".json": json_of,
    ".yaml": yaml_of,
    ".npy": npy_of,
    ".csv": text_of,
    ".tsv": text_of,
    ".txt": text_of,
}


def damage(path: Path, random: Random) -> None:
    """Rewrite a file as one that was damaged: by what it is, or byte by byte."""
    raw = path.read_bytes()
    by_kind = BY_ENDING.get(path.suffix)
    path.write_bytes(by_kind(raw, random) if by_kind and random.random() < 0.75 else bytes_of(raw, random))
    if path.parent.name == "state" and path.suffix == ".safetensors" and random.random() < 0.8:
        with_checksum(path)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """The paths of all values within a plain value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield (*path, key)
        yield from _places(entry, (*path, key))
