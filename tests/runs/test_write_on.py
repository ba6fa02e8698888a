"""Text that goes on: longer than what the run was trained on, after a prompt, by blocks and by windows."""

import pytest
import torch

from undiffuse.cli import main
from undiffuse.core.errors import UserError
from undiffuse.kind.text import TextKind
from undiffuse.recipes import own_data
from undiffuse.run.write_on import context_of, write_on
from undiffuse.train.loop import train

LETTERS = "abcdefg"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two that learned to say the letters in turn: one in blocks, one of the whole window."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "letters.txt").write_text(LETTERS * 600)
    base = own_data(folder / "letters.txt", {"length": "16"}).changed(
        width=32, depth=2, heads=4, steps=150, batch=32, lr=5e-3, precision="fp32", report_every=150
    )
    recipes = {"blocks": base.override("net.block", "4"), "windows": base}
    return {name: train(recipe, folder / name, quiet=True) for name, recipe in recipes.items()}


def indices(text: str) -> torch.Tensor:
    return torch.tensor([LETTERS.index(letter) for letter in text], dtype=torch.long)


@pytest.mark.parametrize("name", ["blocks", "windows"])
@pytest.mark.parametrize("prompt", ["cd", "abcdefgabcdefgabcdefgabcdefga", ""])
def test_it_goes_on_for_as_long_as_asked(runs, name, prompt):
    """The letters in turn, over several times what was learned; after a prompt, from its next letter."""
    pieces = list(write_on(runs[name], indices(prompt), 70, 2))
    text = torch.cat(pieces, 1)
    assert text.shape == (2, 70) and len(pieces) >= 70 // 16
    steps = (text.diff(dim=1) % 7 == 1).float().mean()
    assert steps > 0.75
    if prompt:
        assert ((text[:, 0] - indices(prompt)[-1]) % 7 == 1).all()


@pytest.mark.parametrize("name", ["blocks", "windows"])
def test_the_seed_decides_and_samples_differ(runs, name):
    run = runs[name]
    how = run.sampling
    one, same, other = (
        torch.cat(list(write_on(run, indices(""), 20, 4, how.override(seed=seed))), 1) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert len({tuple(row.tolist()) for row in one}) > 1


def test_what_is_seen_before_a_new_token(runs):
    assert context_of(runs["blocks"]) == context_of(runs["windows"]) == 12


def test_no_tokens_are_refused(runs):
    with pytest.raises(UserError, match="at least 1, not 0"):
        next(write_on(runs["blocks"], indices("a"), 0))


def test_a_run_of_blocks_is_sampled_and_measured_like_any_other(runs):
    run = runs["blocks"]
    plan = run.plan(run.sampling.override(steps=8))
    assert plan.evaluations == 8 and len(plan.times) == 9
    x = run.sample(3, seed=1)
    assert x.shape == (3, 16) and (x.long().diff(dim=1) % 7 == 1).float().mean() > 0.8
    with pytest.raises(UserError, match="ddim cannot sample"):
        run.sample(1, sampler="ddim")


def test_the_command_writes_on_after_a_prompt_or_a_file(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "begin.txt").write_text("abcdefgabcdefgabc\n")
    folder = str(runs["blocks"].folder)
    assert main(["sample", folder, "--prompt", "begin.txt", "--tokens", "9", "--out", "on.txt"]) == 0
    said, noted = capsys.readouterr()
    assert said.startswith("abcdefgabcdefgabc") and "9 tokens after a prompt of 17 characters" in said
    assert "the prompt has 17 tokens, of which the run sees the last 12" in noted
    text = (tmp_path / "on.txt").read_text()
    assert text == said.splitlines()[0] + "\n" and len(text) == 27
    assert main(["sample", folder, "--prompt", "xyz", "--tokens", "9", "--out", "no.txt"]) == 2
    assert main(["sample", folder, "--tokens", "0", "--out", "no.txt"]) == 2
    assert main(["sample", folder, "--tokens", "9", "-n", "3", "--out", "no.txt"]) == 2
    assert "leave -n out" in capsys.readouterr().err
    assert not (tmp_path / "no.txt").exists()


def test_what_was_written_until_it_was_stopped_is_kept(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def stopped(self, run, prompt, tokens, sampling, conditions):
        yield "defg"
        raise KeyboardInterrupt

    monkeypatch.setattr(TextKind, "write_on", stopped)
    assert main(["sample", str(runs["blocks"].folder), "--prompt", "abc", "--tokens", "9", "--out", "on.txt"]) != 0
    assert (tmp_path / "on.txt").read_text() == "abcdefg\n"
