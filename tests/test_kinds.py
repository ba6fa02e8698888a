"""A kind of data is a value that knows what to do: nothing outside of `kind/` tells kinds apart."""

import re
from pathlib import Path

import pytest

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import FORMS
from undiffuse.kind import ENDINGS, KINDS

HOUSE = Path(__file__).parents[1] / "undiffuse"
KNOWING = ("kind/", "data/", "recipes/")  # where one kind may be meant by its name
COMPARED = re.compile(
    r"""(\bkind\s*(==|!=|not\s+in)|(\.|if\ )kind\s+in\b)(?!\s*\w+\.kind)   # run.kind == "table", kind not in A
      | \[[\w.]*\.kind\]                     # COUNT[run.kind]
      | isinstance\((?!recipe)[\w.]*codec\b     # isinstance(run.codec, TableCodec)
      | \.kind\)\s*(==|!=)""",
    re.VERBOSE,
)


def compared(source: str) -> list[str]:
    return [line.strip() for line in source.splitlines() if COMPARED.search(line)]


@pytest.mark.parametrize("folder", ["cli", "codec", "doctor", "draw", "evaluate", "measure", "recipe", "run", "train"])
def test_no_command_compares_kinds(folder):
    files = sorted((HOUSE / folder).rglob("*.py"))
    assert files
    found = {path.name: lines for path in files if (lines := compared(path.read_text(encoding="utf-8")))}
    assert not found


def test_a_comparison_would_be_found():
    for line in ('if run.kind == "table":', "COUNT[run.kind]", "isinstance(run.codec, TableCodec)", "data.kind in A"):
        assert compared(line)
    for line in ('column.kind == "category"', "if kind not in A or B:", 'if kind != "pictures" or C:', "if kind in A:"):
        assert compared(line)
    for line in (
        "kind_of(run).save(rows, out)",
        "if kind not in self.kinds:",
        "other.kind != run.kind",
        "for name, kind in A",
    ):
        assert not compared(line)


def test_every_kind_has_a_form_and_all_that_commands_ask():
    assert set(KINDS) | {"latents"} == set(FORMS)
    for name, kind in KINDS.items():
        assert kind.name == name and kind.shown > 1 and kind.measured > 1 and kind.reported > 1
        assert "{}" in kind.called and all(ending.startswith(".") for ending in kind.writers)
        assert set(kind.writers) <= set(ENDINGS)
        with pytest.raises(UserError, match="are saved as"):
            kind.check_ending(Path("x.exe"))


def test_what_cannot_be_done_is_said_in_the_kind_s_words():
    class Run:
        folder, kind, shape, columns = Path("runs/x"), "pictures", (1, 4, 4), ()

    with pytest.raises(UserError, match="pictures have no columns to be given"):
        KINDS["pictures"].given(Run(), {"a": "1"})
    with pytest.raises(UserError, match="makes points; only a text takes a prompt"):
        KINDS["points"].prompt(Run(), "To be", "_")
    with pytest.raises(UserError, match="rows are not filmed"):
        KINDS["table"].film(Run(), [], None)
