"""Inductive moment matching: consistency training for groups of one, a distance of distributions for large groups."""

import math

import pytest
import torch
from exact_jumps import draw, jumps
from stand_ins import seeded

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.core.errors import UserError
from undiffuse.loss.moment_matching import MomentMatching, jump
from undiffuse.loss.straight import spans
from undiffuse.process import EDM, Cosine, Flow


def test_a_group_of_one_is_consistency_training():
    """Each sample is compared with itself: 2 (1 - e^-d), d the distance of where both jumps land by t - s."""
    method, student, x_0 = MomentMatching(group=1, ends=1.0, gap=0.1), jumps(shift=0.1), draw(8)
    losses = method.begin(student, None, 1)(student, x_0, seeded())
    noise = seeded()
    t, s = spans(method.time, 1.0, 8, noise, Flow())
    z, r = noise.normal(x_0), t - 0.1
    assert (s == 0).all()
    one, other = (jump(student, (1 - u)[:, None] * x_0 + u[:, None] * z, u, s, None) for u in (t, r))
    assert torch.allclose(losses, 2 * (1 - torch.exp(-(one - other).abs() / (t - s)[:, None]))[:, 0], atol=1e-5)
    assert (losses > 1e-3).all()


@pytest.mark.parametrize(("schedule", "c"), [(Flow(), 0.0), (Cosine(), 1.0), (EDM(), 0.0)])
def test_with_many_rows_in_a_group_the_gradient_is_zero_at_the_flow_map_of_a_gaussian(schedule, c):
    """By comparison with the data itself; a flow map that errs alike from everywhere is found out by nothing else."""

    def pull(**wrong):
        student = jumps(schedule, **wrong)
        loss = MomentMatching(group=800, gap=1.0, c=c, ends=1.0).begin(student, None, 1)
        loss(student, draw(800), seeded()).mean().backward()
        return torch.stack([student.gain.grad, student.shift.grad]).abs()

    right, wide, aside = pull(), pull(gain=1.3), pull(shift=0.3)
    assert wide[0] > 4 * right[0] and aside[1] > 4 * right[1]


@pytest.mark.parametrize("group", [1, 4, 64])
def test_of_data_at_a_point_the_loss_is_zero_at_the_flow_map(group):
    student = jumps(mean=0.3, std=1e-6)
    x_0 = torch.full((64, 1), 0.3, dtype=torch.float64)
    assert MomentMatching(group=group).begin(student, None, 1)(student, x_0, seeded()).abs().max() < 1e-4


def test_only_rows_that_are_asked_for_the_same_are_compared():
    """The loss of a group of two labels, with some absent, is that of its three parts, by their sizes."""
    method, part = MomentMatching(group=6), MomentMatching(group=2)
    values, present = torch.tensor([3, 4, 4, 3, 9, 3]), torch.tensor([True, True, True, True, False, False])
    conditions = Conditions({"a": Entry(values, present)})
    x, y = draw(12).view(2, 1, 6, 1)
    whole = method.compare(x, y, method.alike(conditions, x[0]))
    alone = [part.compare(x[:, rows], y[:, rows], None) for rows in ([0, 3], [1, 2], [4, 5])]
    assert torch.allclose(whole * 36, sum(alone) * 4)


@pytest.mark.parametrize("c", [0.0, 1e-4])
def test_without_c_the_kernel_is_the_energy_distance(c):
    x, y = draw(8).view(2, 1, 4, 1)
    assert MomentMatching(c=c).compare(x, y, None).item() == pytest.approx(-torch.cdist(x, y).mean().item(), rel=1e-3)


@pytest.mark.parametrize(("gap", "asked"), [(0.1, 2), (1.0, 1)])
def test_from_s_itself_nothing_jumps(gap, asked):
    student, calls = jumps(), []
    student.register_forward_hook(lambda *_: calls.append(1))
    MomentMatching(gap=gap).begin(student, None, 1)(student, draw(8), seeded())
    assert len(calls) == asked


def test_what_makes_no_sense_is_refused():
    for wrong in [{"group": 0}, {"gap": 0.0}, {"gap": 1.5}, {"c": -1.0}, {"ends": math.nan}]:
        with pytest.raises(UserError):
            MomentMatching(**wrong)
    with pytest.raises(UserError, match="a batch of 8 does not split into groups of 3"):
        MomentMatching(group=3).begin(jumps(), None, 1)(jumps(), draw(8), seeded())
