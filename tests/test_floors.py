"""The house stands as `docs/design.md` draws it: every file on a floor, and nothing above what it imports."""

import ast
import re
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).parents[1]
PLACED = {
    place: floor
    for floor, row in enumerate(re.findall(r"^\| [^|]+ \| (`.+?) \| ", (HOUSE / "docs/design.md").read_text(), re.M))
    for place in re.findall(r"`([^`]+)`", row)
}
FILES = sorted(path.relative_to(HOUSE / "undiffuse").as_posix() for path in (HOUSE / "undiffuse").rglob("*.py"))


@cache
def nodes(file: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((HOUSE / "undiffuse" / file).read_text())))


def floor_of(file: str) -> int:
    return PLACED[max((place for place in PLACED if file.startswith(place)), key=len)]


def imported(file: str) -> set[str]:
    """The files that this one imports, anywhere: inside of functions, and for types, too."""
    found = set()
    for node in nodes(file):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "undiffuse":
            inner = (node.module or "").split(".")[1:]
            for names in ([*inner, name.name] for name in node.names):
                options = ("/".join(names) + ".py", "/".join(inner) + ".py", "/".join([*inner, "__init__.py"]))
                found.add(next(option for option in options if option in FILES))
    return found


def test_every_file_has_its_floor_and_every_place_its_files():
    assert len(PLACED) > 20
    for file in FILES:
        assert file == "__init__.py" or any(file.startswith(place) for place in PLACED), file
    for place in PLACED:
        assert any(file.startswith(place) for file in FILES), place


def test_nothing_imports_from_a_floor_above():
    above = [
        f"{file} imports {other}"
        for file in FILES
        if file != "__init__.py"
        for other in imported(file)
        if floor_of(other) > floor_of(file)
    ]
    assert not above, above


def test_no_file_leads_back_to_itself():
    """No circle, on one floor either: whatever a file imports, and that imports, the file is not among it."""
    reached: dict[str, set[str]] = {}

    def beneath(file: str, above: tuple[str, ...] = ()) -> set[str]:
        assert file not in above, " -> ".join([*above[above.index(file) :], file])
        if file not in reached:
            below = imported(file) - {"__init__.py"}
            reached[file] = below.union(*(beneath(other, (*above, file)) for other in below))
        return reached[file]

    for file in FILES:
        if file != "__init__.py":
            beneath(file)


def test_one_name_means_one_thing():
    """No two classes of the package have one name, but for private ones."""
    named: dict[str, list[str]] = {}
    for file in FILES:
        for node in nodes(file):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named.setdefault(node.name, []).append(file)
    assert not {name: files for name, files in named.items() if len(files) > 1}
