"""Curves, fields and schedules: what is drawn is what was given."""

import math

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.draw.curves import Quality, quality, training
from undiffuse.draw.field import field, plane
from undiffuse.draw.schedules import schedules
from undiffuse.process import Cosine, Flow, Linear, LogLinear


def test_quality_draws_every_sampler_its_bars_and_the_floor():
    curves = {
        "ddim": [Quality(20, 0.1, 0.01), Quality(5, 0.4, 0.02)],
        "heun": [Quality(10, 0.2, math.nan)],
        "too dear": [],
    }
    axes = quality(curves, "sliced Wasserstein", floor=0.05, spread=0.01).axes[0]
    assert {text.get_text() for text in axes.texts} == {"ddim", "heun", "real data"}
    assert [list(container[0].get_xdata()) for container in axes.containers] == [[5, 20], [10]]
    low, high = axes.get_ylim()
    assert low < 0.05
    assert high > 0.42


def test_nothing_to_draw_is_said():
    with pytest.raises(UserError, match="no sampler"):
        quality({"ddim": []}, "sliced Wasserstein", 0.1)
    with pytest.raises(UserError, match="train longer"):
        training({"loss": [(1, 2.0)]})


def test_training_keeps_every_value_and_a_running_average():
    log = {"loss": [(k, 1 + k % 2) for k in range(400)], "quality": [(100, 0.5), (200, 0.4)]}
    loss, measured = training(log).axes
    assert len(loss.lines[0].get_xdata()) == 400
    assert torch.as_tensor(loss.lines[1].get_ydata())[50:].sub(1.5).abs().max() < 0.1
    assert len(measured.lines) == 1


def test_a_field_points_where_the_vectors_do():
    axes = field(lambda x: -x, ((-1, 1), (-1, 1)), arrows=5).axes[0]
    arrows = axes.collections[-1]
    x = plane(((-1, 1), (-1, 1)), 5)
    shown = torch.stack([torch.as_tensor(arrows.U), torch.as_tensor(arrows.V)], 1)
    cosine = torch.nn.functional.cosine_similarity(shown, -x.double(), dim=1)
    assert torch.allclose(cosine[x.norm(dim=1) > 0], torch.ones(24, dtype=cosine.dtype), atol=1e-5)


def test_schedules_are_drawn_as_they_are():
    named = {"linear": Linear(), "cosine": Cosine(), "flow": Flow(), "VE": LogLinear()}
    alpha, _sigma, log_snr = schedules(named).axes
    t, flow = alpha.lines[2].get_data()
    assert torch.allclose(torch.as_tensor(flow), 1 - torch.as_tensor(t))
    assert [text.get_text() for text in log_snr.texts] != []
    assert {text.get_text() for text in log_snr.texts} == set(named)
