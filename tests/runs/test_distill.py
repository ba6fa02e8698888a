"""Distillation: a student of every method is a run like any other, and what cannot be is refused in one line."""

import signal
from pathlib import Path

import pytest
import torch
from killed import assert_same, one_thread, stopped  # noqa: F401  # a fixture

import undiffuse
from undiffuse.cli import main
from undiffuse.condition.conditions import Conditions
from undiffuse.core.noise import SeededNoise
from undiffuse.data.ready import Toy
from undiffuse.denoiser.prediction import X0, Eps, V
from undiffuse.loss.methods import METHODS
from undiffuse.net import MLP
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.run.guidance import teaching
from undiffuse.sampling.sampling import Guidance
from undiffuse.train.distill import student
from undiffuse.train.loop import resume, train

TAUGHT = sorted(name for name, method in METHODS.items() if method.taught)
SHORT = ["--steps", "6", "--batch", "16", "--report-every", "6", "--save-every", "3", "--quiet"]
TINY = MLP(width=16, depth=1, waves=8, embedding=8)
TEACHER = Recipe(
    Toy("moons", 300), GaussianDiffusion(TINY), training=Training(steps=40, batch=32, save_every=40, report_every=40)
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Two moons, labelled."""
    return train(TEACHER, tmp_path_factory.mktemp("teacher") / "moons", quiet=True)


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """A command in a folder of its own: (code, out, err); what it says is a line."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = main(list(map(str, words)))
        said = capsys.readouterr()
        assert "UNDIFFUSE_DEBUG" not in said.err and said.err.count("\n") <= 1, said.err
        return code, said.out, said.err

    return call


@pytest.mark.parametrize("method", METHODS)
def test_a_student_is_sampled_in_few_evaluations(method, teacher, run):
    code, out, error = run("distill", teacher.folder, "--method", method, "--out", "fast", *SHORT[:-1])
    assert code == 0 and "at the pace of the teacher's own training" in out, error
    assert not Path("fast/teacher").exists()
    fast = undiffuse.load("fast")
    for steps in (1, 2, 4):
        code, out, error = run("sample", "fast", "--label", "0", "-n", 5, "--steps", steps, "--out", f"{steps}.npy")
        if fast.most is None or steps <= fast.most:
            assert code == 0 and f"{steps} network evaluation" in out, error
        else:
            assert code == 2 and f"at most {fast.most} evaluations" in error
    code, _, error = run("resume", "fast")
    assert code == 0 and (method not in TAUGHT or "is distilled already" in error)


def test_a_student_does_what_a_run_does(teacher, run):
    for method in ("consistency", "progressive"):
        assert run("distill", teacher.folder, "--method", method, "--evaluations", 2, "--out", method, *SHORT)[0] == 0
        assert run("evaluate", method, "-n", 40, "--json")[0] == 0
        assert run("animate", method, "-n", 5, "--force")[0] == 0
    words = ("compare", teacher.folder, "--samplers", "ddim", "--with", "consistency,progressive", "-n", 40)
    code, out, error = run(*words, "--seeds", 1, "--steps", "2,4", "--out", "compared")
    assert code == 0 and "left out at 4" in out and Path("compared/compare.png").exists(), error
    assert "--sampler consistency --steps" in run("sample", "consistency", "--given", "1=0.5", "--steps", 1)[2]
    assert run("sample", "consistency", "--given", "1=0.5", "--steps", 3, "-n", 4)[0] == 0
    assert "use its teacher" in run("sample", "progressive", "--given", "1=0.5", "--steps", 2, "--force")[2]


@pytest.mark.parametrize(
    ("of_teacher", "method", "says"),
    [(Eps(), "progressive", V()), (X0(), "progressive", X0()), (X0(), "consistency", V()), (V(), "trajectory", V())],
)
def test_a_student_predicts_what_its_teacher_does_where_its_method_can(of_teacher, method, says, run, tmp_path):
    model = GaussianDiffusion(TINY, prediction=of_teacher, learned_variance=True)
    learned = train(TEACHER.changed(model=model, steps=4, batch=16), tmp_path / "teacher", quiet=True)
    code, out, error = run("distill", learned.folder, "--method", method, "--out", "fast", *SHORT[:-1])
    assert code == 0 and ("last layer begins anew" in out) == (says != of_teacher), error
    assert undiffuse.load("fast").recipe.model.prediction == says


def test_refused_in_one_line(teacher, run):
    code, _, error = run("distill", teacher.folder, "--method", "consistency", "--prediction", "x0", "--out", "f")
    assert code == 2 and "consistency-distillation does not train a network that predicts x0" in error
    assert "did you mean consistency" in run("distill", teacher.folder, "--method", "consistancy", "--out", "f")[2]
    words = ("distill", teacher.folder, "--method", "consistency")
    assert run(*words, "--out", "fast", *SHORT)[0] == 0
    assert "fast is a run already" in run(*words, "--out", "fast")[2]
    assert "takes few steps already" in run("distill", "fast", "--method", "consistency", "--out", "faster")[2]
    assert "the lower first" in run(*words, "--guidance", "3,1", "--out", "f")[2]
    assert "evaluations must be at least 1" in run(*words, "--evaluations", "0", "--out", "f")[2]
    assert "distill a range" in run("sample", "fast", "--guidance", 3)[2]
    assert "nothing but the scale" in run("sample", "fast", "--negative", 1)[2]
    assert "ask its teacher" in run("likelihood", "fast")[2]
    assert "guides no other" in run("sample", teacher.folder, "--worse", "fast")[2]
    assert not Path("f").exists()


@pytest.mark.parametrize(
    ("recipe", "why"),
    [("heartbeat", "makes tokens"), ("table", "rows of numbers and tokens"), ("digits-classifier", "is a classifier")],
)
def test_who_teaches_nobody(recipe, why, run, tmp_path):
    own = ["--data.count", "40", "--net.heads", "1"] if recipe == "heartbeat" else []
    if recipe == "table":
        (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{k % 7}.5,{'xyz'[k % 3]}\n" for k in range(60)))
        recipe = "t.csv"
    code, _, error = run("train", recipe, "--out", "run", "--net.width", 8, *own, *SHORT)
    assert code == 0, error
    code, _, error = run("distill", "run", "--method", "consistency", "--out", "fast")
    assert code == 2 and why in error and not Path("fast").exists()


def test_guidance_is_distilled_in(teacher, run):
    """One scale is in the weights; of a range, the scale is a condition, in either way of saying it."""
    words = ("distill", teacher.folder, "--method", "consistency", *SHORT)
    assert run(*words, "--guidance", "2.5", "--out", "one")[0] == 0
    assert undiffuse.load("one").recipe.model.distilled_guidance == (2.5,)
    assert run(*words, "--guidance", "1,4", "--lr", "0.01", "--out", "many")[0] == 0
    many = undiffuse.load("many")
    default = many.sample(6, label="0")
    assert torch.equal(many.sample(6, label="0", guidance=3.0), many.sample(6, {"label": "0", "guidance": 3}))
    assert not torch.equal(many.sample(6, label="0", guidance=3.0), default)
    assert run("sample", "many", "--cond", "label=1,guidance=3", "-n", 4)[0] == 0
    assert "outside the training data" in run("sample", "many", "--guidance", 9, "-n", 4, "--force")[2]
    assert run("evaluate", "many", "-n", 40, "--guidance", 2, "--json")[0] == 0


def test_a_teacher_answers_by_the_scale_of_each_row(teacher):
    """The range's teacher at w is the one that is guided by w; where a row asks for none, by its default."""
    recipe = student(teacher, METHODS["consistency"](), guidance=(1.0, 4.0))
    of, x, t = recipe.scales, SeededNoise(0).normal(torch.empty(3, 2)), torch.full((3,), 0.4, dtype=torch.float64)
    labels = teacher.conditions(3, label="1")
    entry = of.entry(torch.tensor([[1.5], [3.5], [float("nan")]]))
    asked = Conditions({**labels.entries, "guidance": entry})
    guidance = teacher.sampling.guidance
    answer = teaching(teacher.denoiser, teacher, guidance, (1.0, 4.0))(x, t, asked)
    for row, weight in enumerate((1.5, 3.5, None)):
        one = Guidance(weight) if weight else guidance
        expected = teaching(teacher.denoiser, teacher, one, ())(x, t, labels)[row]
        assert torch.allclose(answer[row], expected, atol=1e-5)


def _recipe(run, method):
    return student(run, METHODS[method]()).changed(steps=24, batch=16, save_every=8, report_every=24, warmup=5)


@pytest.mark.parametrize("method", METHODS)
def test_a_distillation_that_is_killed_goes_on_bit_for_bit(method, teacher, tmp_path):
    whole = train(_recipe(teacher, method), tmp_path / "whole", True, teacher)
    code, _ = stopped(_recipe(teacher, method), tmp_path / "killed", 19, signal.SIGKILL, teacher.folder)
    assert code == -signal.SIGKILL
    assert_same(resume(tmp_path / "killed", quiet=True), whole)
    assert not (tmp_path / "killed" / "teacher").exists()
