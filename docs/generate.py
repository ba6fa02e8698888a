"""Pages that the code writes: every command with its options, every recipe with its fields, every module.

Run before the site is built (make docs); the pages lie in docs/reference, which git ignores.
"""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import undiffuse
from undiffuse.cli import looking
from undiffuse.cli.program import COMMANDS, command_parser
from undiffuse.recipes import RECIPES

PACKAGE = Path(undiffuse.__file__).parent
PAGES = Path(__file__).parent / "reference"


def main() -> None:
    """Write them all."""
    PAGES.mkdir(exist_ok=True)
    _write("commands.md", "Commands", map(_command, COMMANDS))
    _write("recipes.md", "Recipes", map(_recipe, RECIPES))
    rooms = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
    _write("python.md", "Python", [_room(name) for name in rooms])
    for name in rooms:
        _write(f"{name}.md", name, map(_module, _modules(PACKAGE / name)))


def _write(page: str, title: str, parts: Iterable[str]) -> None:
    (PAGES / page).write_text(f"# {title}\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _command(name: str) -> str:
    return f"## {name}\n\n```text\n{command_parser(name).format_help().strip()}\n```"


def _recipe(name: str) -> str:
    return f"## {name}\n\n{RECIPES[name].__doc__}\n\n```text\n{looking.fields(name)}\n```"


def _room(name: str) -> str:
    first = (import_module(f"undiffuse.{name}").__doc__ or name).splitlines()[0]
    return f"- [`{name}`]({name}.md): {first}"


def _modules(room: Path) -> list[str]:
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(room.rglob("*.py"))]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]


def _module(name: str) -> str:
    return f"::: {name}\n    options:\n      heading_level: 2"


if __name__ == "__main__":
    main()
