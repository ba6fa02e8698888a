"""A training may be made longer, or end by the clock: it is then the training of another recipe, from some step on."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from logged import read_log

from tests.runs.test_resume import BASE, assert_same, one_thread  # noqa: F401  # a fixture
from undiffuse.core.errors import Caution, UserError
from undiffuse.data.ready import Toy
from undiffuse.data.source import Between, StandardNormal
from undiffuse.loss.markovian import Markovian
from undiffuse.recipe.model import Bridge
from undiffuse.run.folder import read_recipe
from undiffuse.train import length
from undiffuse.train.length import Clock
from undiffuse.train.loop import resume, train
from undiffuse.train.state import load_state
from undiffuse.train.trainer import Trainer

SHORT = BASE.changed(steps=60, report_every=60)


class Timetable:
    """A clock that asks for ``planned`` steps at step ``at``."""

    def __init__(self, at, planned):
        self.at, self.planned = at, planned

    def begin(self, done):
        pass

    def steps(self, done, planned, ending):
        return self.planned if done == self.at else planned


def states(*runs):
    return [load_state(run.folder / "state").tensors for run in runs]


def rates(run):
    return {line["step"]: line["learning rate"] for line in read_log(run.folder) if "learning rate" in line}


def test_at_a_constant_rate_a_longer_training_is_one_that_was_asked_for(tmp_path):
    recipe = SHORT.changed(decay="constant")
    train(recipe, tmp_path / "longer", quiet=True)
    with pytest.warns(Caution, match="130 steps instead of 60"):
        longer = resume(tmp_path / "longer", quiet=True, steps=130)
    one, other = states(longer, train(recipe.changed(steps=130), tmp_path / "asked", quiet=True))
    assert longer.step == 130 and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_longer_training_has_the_rates_of_its_length(decay, tmp_path):
    recipe = SHORT.changed(decay=decay)
    train(recipe, tmp_path / "longer", quiet=True)
    with pytest.warns(Caution, match=f"falls to 0 .{decay}"):
        longer = resume(tmp_path / "longer", quiet=True, steps=130)
    asked = recipe.changed(steps=130).training
    assert rates(longer)[100] == asked.lr_of(99) and rates(longer)[130] == asked.lr_of(129)
    assert read_recipe(tmp_path / "longer") == recipe.changed(steps=130)


def test_a_training_that_is_planned_anew_goes_on_bit_for_bit(tmp_path, monkeypatch):
    """Its recipe has the number of steps that its state was saved before."""
    through = train(BASE, tmp_path / "through", quiet=True, clock=Timetable(55, 90))
    assert through.step == 90 and through.recipe == BASE.changed(steps=90)
    assert rates(through)[90] == BASE.changed(steps=90).training.lr_of(89)

    def cut(trainer, step=Trainer.step):
        if trainer.done == 70:
            raise KeyboardInterrupt
        step(trainer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", cut)
        train(BASE, tmp_path / "cut", quiet=True, clock=Timetable(55, 90))
    assert load_state(tmp_path / "cut" / "state").step == 55
    assert_same(resume(tmp_path / "cut", quiet=True), through)


@given(
    st.floats(0.05, 0.5), st.floats(0.4, 2.5), st.floats(0.0, 0.7), st.floats(0.3, 3.0), st.floats(0.0, 4.0), st.data()
)
def test_it_ends_with_its_clock(pace, slower, when, guess, reporting, data):
    """Within 5%, though a first guess of the pace is wrong, the pace changes, and a report every tenth takes time."""
    now, minutes = [1000.0], data.draw(st.sampled_from([3, 10]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(length.time, "monotonic", lambda: now[0])
        clock = Clock(minutes)
        steps = max(10, round(60 * minutes / pace * guess))
        every, done = max(1, steps // 10), 0
        while done < steps:
            now[0] += pace * (1 if now[0] - 1000 < when * 60 * minutes else slower)
            done += 1
            planned = clock.steps(done, steps, reporting if done > every else 0.0)
            now[0] += reporting * (done % every == 0 or done == planned)
            steps = planned
    assert abs(now[0] - 1000 - 60 * minutes) < 0.05 * 60 * minutes + reporting


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 10_081])
def test_no_such_time(minutes):
    with pytest.raises(UserError, match="minutes must be above 0 and at most 10,080, a week"):
        Clock(minutes)


def test_what_cannot_be_made_longer_says_so(tmp_path):
    train(SHORT.changed(steps=6), tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match=r"how many in all, and 6 were taken already; not 5"):
        resume(tmp_path / "run", quiet=True, steps=5)
    with pytest.raises(UserError, match="not both"):
        resume(tmp_path / "run", quiet=True, steps=9, minutes=1)
    (tmp_path / "new").mkdir()
    SHORT.save(tmp_path / "new" / "recipe.yaml")
    with pytest.raises(UserError, match="nothing is known of its pace; give --steps"):
        resume(tmp_path / "new", quiet=True, minutes=1)
    assert read_recipe(tmp_path / "run").training.steps == 6 and resume(tmp_path / "run", quiet=True).step == 6


def test_a_method_of_stages_has_its_length_from_the_start(tmp_path):
    ends = Between(Toy("moons", 50), StandardNormal(50))
    staged = replace(SHORT, data=ends, model=Bridge(SHORT.model.net, sigma=1.0, loss=Markovian(), kept=20))
    with pytest.raises(UserError, match="train anew: --steps"):
        train(staged, tmp_path / "run", quiet=True, clock=Clock(1))
    assert not (tmp_path / "run").exists()
