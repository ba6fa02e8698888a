"""Texts that a program checks: all valid ones are drawn, evenly; the checker takes these and no others."""

import itertools
import math
import re
from pathlib import Path

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.data.source import Arithmetic, Brackets, Sudoku
from undiffuse.data.synthetic.checkable.checkable import HOLE
from undiffuse.data.synthetic.checkable.sudoku import completions
from undiffuse.evaluate.valid import commonest, faults, valid_rows
from undiffuse.kind.text import TextKind
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train

SMALL = [Brackets(3000, length=6, kinds=2), Sudoku(3000), Arithmetic(4000, digits=1)]


def texts(source):
    data = source.open()
    return [data.alphabet.decode(row) for row in data.x]


def every(source):
    """All valid texts, by trying all texts."""
    if isinstance(source, Sudoku):
        grids = ["".join(map(str, grid)) for grid in completions((0,) * 16, 4)]
        return ["\n".join(grid[row : row + 4] for row in range(0, 16, 4)) for grid in grids]
    if isinstance(source, Arithmetic):
        return [f"{a}+{b}={c:02}" for a, b, c in itertools.product(range(10), range(10), range(20)) if a + b == c]
    tried = map("".join, itertools.product(source.symbols, repeat=source.length))
    return [text for text in tried if not source.fault(text)]


@pytest.mark.parametrize("source", SMALL, ids=lambda source: source.items)
def test_all_that_are_valid_are_drawn_and_evenly(source):
    """Each as often as the others, by chi-squared: its mean is the number of texts less one, to five deviations."""
    valid, drawn = every(source), texts(source)
    assert set(drawn) == set(valid) and all(source.fault(text) == "" for text in valid)
    assert math.exp(source.entropy()) == pytest.approx(len(valid))
    expected = len(drawn) / len(valid)
    chi = sum((drawn.count(text) - expected) ** 2 / expected for text in valid)
    assert abs(chi - len(valid)) < 5 * math.sqrt(2 * len(valid))


def test_there_are_as_many_sudokus_of_six_as_are_known():
    source = Sudoku(50, side=6)
    assert math.exp(source.entropy()) == pytest.approx(28_200_960)
    assert all(source.fault(text) == "" for text in texts(source))


@pytest.mark.parametrize("source", SMALL, ids=lambda source: source.items)
def test_what_can_be_completed_is_what_some_valid_text_has(source):
    """Of texts with holes, right and wrong ones, beside a search through all valid texts."""
    valid, generator = every(source), torch.Generator().manual_seed(0)
    found = []
    for text in texts(source)[:60]:
        wrong = [source.symbols[k] for k in torch.randint(len(source.symbols), (len(text),), generator=generator)]
        kind = torch.randint(20, (len(text),), generator=generator).tolist()
        holes = "".join(w if k == 0 else c if k < 6 else HOLE for c, w, k in zip(text, wrong, kind, strict=True))
        truth = any(all(h in (HOLE, c) for h, c in zip(holes, one, strict=True)) for one in valid)
        assert source.completable(holes) == truth, holes
        found.append(truth)
    assert 10 < sum(found) < 55


@pytest.mark.parametrize(
    ("source", "text", "why"),
    [
        (Brackets(), "([)]", r") closes \["),
        (Brackets(), "())(", r"\) closes nothing"),
        (Brackets(), "()((", "some stay open"),
        (Sudoku(), "1234\n3412\n2143\n432", "not 4 lines of 4 digits"),
        (Sudoku(), "1134\n3412\n2143\n4321", "a digit stands twice in a row"),
        (Sudoku(), "1234\n1234\n1234\n1234", "a digit stands twice in a column"),
        (Sudoku(), "1234\n2341\n3412\n4123", "a digit stands twice in a box"),
        (Arithmetic(digits=2), "12+34=047", "a wrong sum"),
        (Arithmetic(digits=2), "12+34=04+", "no sum of two numbers"),
    ],
)
def test_what_is_wrong_is_said(source, text, why):
    assert source.fault(text) == why.replace("\\", "")


def test_the_share_of_valid_texts_stands_beside_real_and_shuffled_ones():
    source = Sudoku(200)
    x = source.open("test").x
    broken = x.clone()
    broken[:50, 0] = x[:50, 1]
    shares, shuffled = valid_rows(source, broken, x)
    assert (shares.value, shares.floor) == (0.75, 1.0) and shuffled.value < 0.1 and shuffled.floor < 0.1
    assert commonest(faults(source, broken)) == "a digit stands twice in a row (25%)"
    assert commonest(faults(source, x)) is None


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Brackets(length=7), "an even length"),
        (lambda: Brackets(kinds=5), "1 to 4 kinds"),
        (lambda: Sudoku(side=9), "a side of 4 or 6, not 9"),
        (lambda: Arithmetic(digits=0), "1 to 17 digits, not 0"),
        (lambda: Sudoku(count=1).open(), "at least 2 sudokus"),
    ],
)
def test_what_cannot_be_drawn_is_said(make, match):
    with pytest.raises(UserError, match=match):
        make()


def test_a_run_says_what_share_is_valid_and_refuses_prompts_that_nothing_completes(tmp_path, run):
    recipe = RECIPES["brackets"]().changed(net=TokenTransformer(8, 1, 2, time=False), steps=2, report_every=2, batch=8)
    made = train(recipe.override("data.count", "100").override("data.length", "6"), tmp_path / "run", quiet=True)
    code, said, _ = run("evaluate", made.folder, "-n", "20")
    assert code == 0 and "valid brackets" in said and "faults" in said
    code, _, complaint = run("sample", made.folder, "-n", "1", "--prompt", ")(")
    assert code == 2 and "no valid brackets have this prompt" in complaint
    assert TextKind().prompt(made, "*(", "*").known.sum() == 1
    code, _, _ = run("sample", made.folder, "-n", "9", "--prompt", "[*]", "--gap", "*", "--out", "filled.txt")
    texts = Path("filled.txt").read_text().split()[::2]
    assert code == 0 and len(texts) == 9 and all(text[0] == "[" and "]" in text[1:] for text in texts)
    for words, why in (
        (("--gap", "*"), "give both"),
        (("--gap", "*", "--prompt", "(("), r"one '\*' in the prompt; there are 0"),
        (("--gap", "*", "--prompt", "([)*]"), "no valid brackets have this prompt"),
        (("--gap", "*", "--prompt", "(((*))))"), "7 tokens, and what the run makes has 6"),
        (("--gap", "*", "--prompt", "(*x"), "'x' is not known"),
    ):
        code, _, complaint = run("sample", made.folder, *words)
        assert code == 2 and re.search(why, complaint), complaint
