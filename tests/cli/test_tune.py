"""`undiffuse tune`, the file that it leaves in a run, and every command that takes the grid ``tuned``."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from undiffuse.core.errors import Caution, UserError
from undiffuse.evaluate import tune
from undiffuse.process import Affine, Linear
from undiffuse.process.pinned import Pinned
from undiffuse.run.folder import load
from undiffuse.run.tuned import FILE, TUNED, Tuned, fingerprint, read_tuned
from undiffuse.sampling.sampling import Sampling
from undiffuse.sampling.tuned.tableau import Tableau, read
from undiffuse.step.ddim import DDIM

WORDS = ("--noises", "8", "--rounds", "2")


@pytest.fixture(scope="module")
def tuned_run(labelled_run, tmp_path_factory):
    """A copy of a run, tuned for 2 and 3 evaluations."""
    from undiffuse.cli import main

    folder = shutil.copytree(labelled_run, tmp_path_factory.mktemp("tuned") / "run")
    assert main(["tune", str(folder), "--evaluations", "3,2", *WORDS]) == 0
    return folder


def test_it_tells_what_it_costs_and_what_it_found(run, labelled_run, tmp_path):
    folder = shutil.copytree(labelled_run, tmp_path / "run")
    code, out, error = run("tune", folder, "--evaluations", "2", *WORDS)
    assert (code, error) == (0, "")
    assert out.startswith("8 noises, at most ") and "network evaluations: about " in out
    assert "unipc" in out and "of the best fixed one" in out
    assert f"wrote {folder / FILE}; next: undiffuse sample {folder} --grid tuned --steps 2" in out
    code, out, _ = run("tune", folder, "--evaluations", "3", *WORDS, "--json")
    (result,) = json.loads(out)
    assert result["evaluations"] == 3 and result[TUNED] >= 0 and "ddim" in result["fixed"]
    assert sorted(read_tuned(folder, load(folder).fingerprint).tableaus) == [2, 3]  # one more, beside what was there


def test_the_same_seed_gives_the_same_result(tuned_run):
    lots = tune.draw_lots(load(tuned_run), 8)
    again = {count: tune.tune(lots, count, 2).tableau for count in (2, 3)}
    assert read_tuned(tuned_run, lots.run.fingerprint).tableaus == again
    assert not torch.equal(tune.draw_lots(load(tuned_run), 8, seed=1).fit.z, lots.fit.z)


def test_it_never_ends_worse_than_it_began_on_the_noise_that_chooses(tuned_run):
    lots = tune.draw_lots(load(tuned_run), 16)
    result = tune.tune(lots, 3, 3)
    assert lots.choose.error(result.tableau) <= min(
        lots.choose.error(start.tableau) for start in tune.fixed(lots.fit.process, 3).values()
    )


def test_a_named_sampler_keeps_its_coefficients(tuned_run):
    lots = tune.draw_lots(load(tuned_run), 8)
    process, found = lots.fit.process, tune.tune(lots, 3, 2, "ddim")
    assert found.start == "ddim" and found.tableau == read(process, DDIM(process), found.tableau.grid)


def test_samples_follow_it(run, tuned_run):
    code, out, error = run("sample", tuned_run, "-n", "3", "--grid", "tuned", "--steps", "3", "--out", "x.npy")
    assert (code, error) == (0, "")
    assert "tuned with 3 steps, 3 network evaluations each" in out
    opened = load(tuned_run)
    plan = opened.plan(Sampling(steps=3, grid=TUNED))
    assert plan.times == read_tuned(tuned_run, opened.fingerprint).tableaus[3].grid
    assert torch.isfinite(opened.sample(4, grid=TUNED, steps=2)).all()


@pytest.mark.parametrize(
    "words",
    [
        ("animate", "-n", "2", "--out", "x.gif"),
        ("evaluate", "-n", "20", "--json"),
    ],
)
def test_other_commands_take_it(run, tuned_run, words):
    code, _, error = run(words[0], tuned_run, *words[1:], "--grid", "tuned", "--steps", "2")
    assert (code, error) == (0, "")


def test_a_comparison_has_its_row(run, tuned_run, labelled_run):
    words = ("-n", "20", "--seeds", "1", "--steps", "2,4")
    code, out, error = run("compare", tuned_run, *words)
    assert (code, error) == (0, "")
    assert "tuned" in out and "tuned is not there for 4 evaluations: left out" in out
    code, out, _ = run("compare", tuned_run, *words, "--samplers", "tuned,ddim")
    assert code == 0 and "gradient-estimation" not in out
    assert "tuned" not in run("compare", labelled_run, *words)[1]
    code, _, error = run("compare", labelled_run, *words, "--samplers", "tuned,ddim")
    assert code == 2 and "has no tuned grid" in error


# ---------------------------------------------------------------------------------------------- refused


def test_a_count_that_was_not_tuned_names_those_that_were(run, tuned_run):
    code, _, error = run("sample", tuned_run, "--grid", "tuned", "--steps", "7")
    assert code == 2 and "is tuned for --steps 2, 3, not 7" in error


def test_a_run_without_one_says_how_to_make_one(run, labelled_run):
    code, _, error = run("sample", labelled_run, "--grid", "tuned", "--steps", "2")
    assert code == 2 and f"undiffuse tune {labelled_run}" in error


def test_other_weights_are_told(run, tuned_run, tmp_path):
    folder = shutil.copytree(tuned_run, tmp_path / "run")
    opened = load(folder)
    with torch.no_grad():
        next(opened.denoiser.parameters()).add_(1e-3)
    with pytest.raises(UserError, match="tuned for other weights"):
        opened.sample(2, grid=TUNED, steps=2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"model": "x"}',
        '{"model": "x", "guidance": 1, "tableaus": {"2": {"times": [1.0], "rows": [[0, 1]]}}}',
    ],
)
def test_a_damaged_file_is_told_in_one_line(run, tuned_run, tmp_path, text):
    folder = shutil.copytree(tuned_run, tmp_path / "run")
    (folder / FILE).write_text(text)
    code, _, error = run("sample", folder, "--grid", "tuned", "--steps", "2")
    assert code == 2 and FILE in error and error.count("\n") == 1


def test_another_guidance_is_a_caution():
    tuned = Tuned("x", 2.0, {1: Tableau((1.0,), ((0.0, 1.0),))})
    with pytest.warns(Caution, match="tuned with guidance 2, and is sampled with 3"):
        tuned.of("run", 1, 3.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--evaluations", "0"), "from 1 to 50, not 0"),
        (("--evaluations", "5,51"), "from 1 to 50, not 51"),
        (("--noises", "3"), "noises must be at least 4"),
        (("--rounds", "0"), "rounds must be at least 1"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--sampler", "ddmi"), "did you mean"),
        (("--sampler", "ddpm", "--evaluations", "2", "--noises", "4"), "ddpm draws fresh noise"),
        (("--sampler", "heun", "--evaluations", "2", "--noises", "4"), "heun draws fresh noise, or evaluates"),
    ],
)
def test_what_cannot_be_tuned(run, labelled_run, words, said):
    code, _, error = run("tune", labelled_run, *words)
    assert code == 2 and said in error and not (labelled_run / FILE).exists()
    assert error.count("\n") == 1 and "UNDIFFUSE_DEBUG" not in error


@pytest.mark.parametrize(
    ("said", "process", "what"),
    [
        ("is a classifier", Affine(Linear()), {"is_classifier": True}),
        ("is a model of few steps", Affine(Linear()), {"is_few_step": True}),
        ("is a bridge", Pinned(), {"is_bridge": True}),
        ("is of tokens", None, {"is_of_tokens": True}),
        ("is of numbers beside tokens", None, {}),
    ],
)
def test_a_run_without_a_grid_to_tune(said, process, what):
    facts = {"is_classifier": False, "is_few_step": False, "is_of_tokens": False, "is_bridge": False} | what
    run = SimpleNamespace(folder="runs/mine", denoiser=SimpleNamespace(process=process), **facts)
    with pytest.raises(UserError, match=f"runs/mine {said}"):
        tune.check(run, [5], None, 1)


def test_nothing_is_left_half_done(run, labelled_run, tmp_path, monkeypatch):
    folder = shutil.copytree(labelled_run, tmp_path / "run")
    before = sorted(folder.rglob("*"))

    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "tune", interrupted)
    assert run("tune", folder, *WORDS)[0] == 130
    assert sorted(folder.rglob("*")) == before


def test_a_fingerprint_is_of_every_number():
    weights = {"a": torch.zeros(2, 3), "b": torch.tensor(1), "c": torch.ones(2, dtype=torch.bfloat16)}
    assert fingerprint(weights) == fingerprint({name: weights[name].clone() for name in "cba"})
    others = [weights | {name: tensor + 1} for name, tensor in weights.items()]
    others += [weights | {"a": torch.zeros(3, 2)}, {"d" if name == "a" else name: t for name, t in weights.items()}]
    assert len({fingerprint(weights), *map(fingerprint, others)}) == 6
