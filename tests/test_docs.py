"""The pages: every one is in the site, every link leads somewhere, every command and every snippet works."""

import importlib
import re
import shlex
from itertools import chain
from pathlib import Path

import pytest
import yaml

from undiffuse.cli.program import COMMANDS, Usage, _split_fields, command_parser
from undiffuse.cli.words import overridden, recipe_for
from undiffuse.core.errors import UserError
from undiffuse.data.own import Files
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.recipes.digits import digits
from undiffuse.train.loop import train

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if "reference" not in page.parts)]
LIVE = "live/index.html"  # which docs/live.py makes
GENERATED = ("reference/commands.md", "reference/recipes.md", "reference/python.md")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def in_nav(entries: object) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    return list(chain.from_iterable(map(in_nav, entries.values() if isinstance(entries, dict) else entries)))


def test_every_page_is_in_the_site():
    pages = in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(pages) == sorted([*(str(page.relative_to(DOCS)) for page in PAGES[1:]), *GENERATED])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
        found = (page.parent / target).resolve()
        made = [*GENERATED, LIVE]
        assert found.exists() or target.startswith("https://") or str(found.relative_to(DOCS)) in made, target
    for module in re.findall(r"^::: (\S+)", text, flags=re.M):
        importlib.import_module(module)


def test_an_argument_is_described_by_itself():
    """The reference is built from docstrings, and knows no "a, b: ..."."""
    for file in sorted((ROOT / "undiffuse").rglob("*.py")):
        for section in re.findall(
            r"^ +Args:\n(.*?)(?:\n *\n|\"\"\")", file.read_text(encoding="utf-8"), flags=re.M | re.S
        ):
            assert not re.search(r"^ +\w+(, \w+)+: ", section, flags=re.M), f"{file}: {section}"


def commands(page: Path) -> list[str]:
    """The lines of code that call undiffuse, without what surrounds them."""
    found = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(?:    |\| )?(?:\w+=\S+ )*(?:time |torchrun .* -m )?undiffuse ([a-z].*)", line):
            found.append(re.split(r"\s+#|\s{2,}(?!--)|\s+&&", match[1])[0].replace("[", "").replace("]", ""))
    return found


LINES = [(name(page), line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line}"[:90] for page, line in LINES])
def test_every_command_is_one(page, line):
    command, *words = shlex.split(line)
    assert command in COMMANDS
    try:
        plain, fields = _split_fields(command, words) if command in ("train", "distill") else (words, [])
        options = command_parser(command).parse_args(plain)
    except (Usage, SystemExit) as error:
        pytest.fail(f"{line}: {error}")
    target = getattr(options, "target", None)
    if target in RECIPES and not getattr(options, "to", None):
        overridden(recipe_for(target), [(key.removeprefix("data.condition"), value) for key, value in fields])


def takes(recipe: Recipe, field: str, value: str) -> bool:
    try:
        return bool(overridden(recipe, [(field, value)]))
    except UserError:
        return False


def test_what_stands_for_another_library_is_there():
    """Each option in the table of other libraries belongs to a command, or to a recipe of digits or of a folder."""
    known = {word for _, arguments in COMMANDS.values() for words, _ in arguments for word in words}
    of_pictures = digits().changed(data=Files("pictures"))
    spans = re.findall(r"`(--[^`]+)`", (DOCS / "coming_from.md").read_text(encoding="utf-8"))
    assert len(spans) > 15
    for span in spans:
        words = shlex.split(span)
        for option, value in zip(words[::2], words[1::2], strict=False):
            if option not in known:
                assert any(takes(recipe, option[2:], value) for recipe in (digits(), of_pictures)), span


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")], ids=name)
def test_every_snippet_runs(page, tmp_path, monkeypatch):
    """In order, in a folder with a run of digits."""
    monkeypatch.chdir(tmp_path)
    train(digits().changed(steps=2, width=8, report_every=2), "runs/digits", quiet=True)
    names: dict[str, object] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S):
        exec(compile(snippet, name(page), "exec"), names)
