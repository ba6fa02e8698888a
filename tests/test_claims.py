"""What the documents promise is a test: each law names its own, and those are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def section(page: str, title: str) -> str:
    """The text of a section, without its heading."""
    return re.split(r"^## ", (ROOT / page).read_text(encoding="utf-8").split(f"## {title}\n")[1], flags=re.M)[0]


LAWS = [law for law in re.split(r"^- ", section("docs/design.md", "The laws"), flags=re.M)[1:]]
NAMED = re.compile(r"`(test_\w+)`")


@cache
def written() -> set[str]:
    files = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "tests").rglob("test_*.py")]
    return {node.name for file in files for node in ast.walk(file) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: re.sub(r"\W+", "-", law.split("**")[1]))
def test_every_law_is_a_test(law):
    named = set(NAMED.findall(law))
    assert named, "a law that no test holds is no law"
    assert named <= written(), f"not a test: {sorted(named - written())}"


def test_the_readme_promises_what_is_a_law():
    laws = {law.split("**")[1] for law in LAWS}
    promised = re.findall(r"\*\*(.+?)\*\*", section("README.md", "What it promises"))
    assert promised and set(promised) <= laws
