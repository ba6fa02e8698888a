"""Shortcut models: a jump is two jumps of half its length."""

import pytest
import torch
from exact_jumps import draw, jumps
from stand_ins import name, numbers, seeded

from undiffuse.core.errors import UserError
from undiffuse.loss.shortcut import Halves, Shortcut
from undiffuse.loss.straight import last, mean_velocity
from undiffuse.process import EDM, Cosine, Flow

SCHEDULES = [Flow(), Cosine(), EDM()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
def test_steps_compose(schedule):
    """Of exact half jumps the mean velocity is that of the whole."""
    exact = jumps(schedule)
    t, s, z = numbers(0.75, 0.5, last(schedule)), numbers(0.5, 0.0, 0.0), numbers(-1.0, 0.3, 1.5)[:, None]
    halves = Halves(Shortcut(), exact).halves(z, t, s, None)
    assert torch.allclose(halves, mean_velocity(exact, z, t, s), atol=1e-9)


def test_the_smallest_jump_is_two_steps_along_the_velocity():
    exact, z = jumps(), numbers(-1.0, 0.3)[:, None]
    t, middle, s = numbers(0.75, 0.5), numbers(0.625, 0.375), numbers(0.5, 0.25)
    first = mean_velocity(exact, z, t, t)
    second = mean_velocity(exact, z - 0.125 * first, middle, middle)
    assert torch.allclose(Halves(Shortcut(finest=8), exact).halves(z, t, s, None), (first + second) / 2)


def test_of_a_straight_flow_the_loss_is_zero():
    student = jumps(mean=0.3, std=1e-6)
    loss = Shortcut().begin(student, None, 1)(student, torch.full((64, 1), 0.3, dtype=torch.float64), seeded())
    assert loss.max() < 1e-8


def test_jumps_of_every_length_begin_at_multiples_of_it():
    t, s = Halves(Shortcut(finest=8, jumps=0.5), jumps()).times(2000, seeded(), Cosine())
    length = (t - s)[:1000]
    assert torch.equal((length * 4).round().unique(), numbers(1, 2, 4)) and torch.equal(t[1000:], s[1000:])
    assert torch.allclose(s[:1000] / length, (s[:1000] / length).round(), atol=1e-3)
    assert t.max() == last(Cosine()) and torch.allclose(t[:1000], t[:1000].mul(4).round() / 4, atol=1e-4)


def test_the_average_follows_the_student():
    student = jumps(shift=2.0)
    loss = Shortcut(average=0.9).begin(student, None, 1)
    seen = []
    for value in (3.0, 3.0, *[5.0] * 200):
        student.shift.data.fill_(value)
        loss(student, draw(8), seeded())
        seen.append(loss.slow.shift.item())
    assert seen[:2] == [3.0, 3.0] and 3 < seen[2] < seen[3] < 5
    assert 5 - seen[-1] == pytest.approx(0.9 * (5 - seen[-2]))
    before = loss.slow.shift.item()
    loss(student.eval(), draw(8), seeded())
    assert loss.slow.shift.item() == before


@pytest.mark.parametrize("wrong", [{"finest": 6}, {"finest": 1}, {"jumps": 0.0}, {"average": 1.0}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(UserError):
        Shortcut(**wrong)
