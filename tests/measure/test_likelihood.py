"""What a run's data costs: exact denoisers put into runs, whose likelihood is known in closed form."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from undiffuse.codec import MLPVAE, VQVAE, Levels, Normalise
from undiffuse.codec.labelled import LabelledCodec
from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import labelled, specifications_of
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.evaluate import nats
from undiffuse.evaluate.bits import token_bits
from undiffuse.evaluate.likelihood import likelihood
from undiffuse.evaluate.nats import best_end, bound_nats, flow_nats, grey_nats
from undiffuse.exact import Empirical, Gaussian, GaussianMixture
from undiffuse.net import UNet
from undiffuse.net.embedded import Embedded
from undiffuse.process import ABSORBING, EDM, Affine, Categorical, Cosine, Fading, Flow, PoissonNoise
from undiffuse.process.categorical import TokenShape
from undiffuse.recipes import RECIPES
from undiffuse.run.run import Run


class Exact(nn.Module):
    """An exact denoiser as a run has one."""

    jumps = ()

    def __init__(self, exact) -> None:
        super().__init__()
        self.exact, self.process = exact, exact.process
        self.somewhere = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, t, conditions: Conditions | None = None) -> Tensor:
        return self.exact(x_t, t, conditions)


def run_of(exact, codec, label_names=(), recipe="swiss-roll") -> Run:
    return Run(Path("nowhere"), RECIPES[recipe](), Exact(exact), codec, specifications_of(label_names))


def codec_of(kind, shape, mean, std) -> Normalise:
    codec = Normalise(kind, shape).double()
    codec.mean.copy_(torch.as_tensor(mean).expand_as(codec.mean))
    codec.std.copy_(torch.as_tensor(std).expand_as(codec.std))
    return codec


def near(cost: Tensor, truth: Tensor, slack: float) -> None:
    """Of rows alike, equal on average: to 4 standard errors of the difference, and what the ends leave out."""
    gap = cost - truth
    error = float(gap.std()) / math.sqrt(len(gap))
    assert error < 0.05
    assert abs(float(gap.mean())) < 4 * error + slack


# --------------------------------------------------------------------------------------------- points


@pytest.fixture(params=[Cosine(), EDM(), Flow()], ids=["cosine", "edm", "flow"])
def plane(request):
    """Correlated normal points in units of their own, and -log density of each row."""
    process = Affine(request.param)
    exact = Gaussian(process, torch.zeros(2).double(), torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double())
    codec = codec_of("points", (2,), [300.0, -1.0], [20.0, 0.5])
    z = exact.sample(20_000, SeededNoise(5))
    truth = -exact.log_density(z) + math.log(20.0 * 0.5)
    return run_of(exact, codec), Dataset(codec.decode(z).float()), truth


def test_points_cost_their_density_in_their_own_units(plane):
    run, data, truth = plane
    near(bound_nats(run, data, end=10.0), truth, slack=2e-3)
    some = data.take(torch.arange(20))
    torch.testing.assert_close(flow_nats(run, some, tolerance=1e-6), truth[:20], rtol=0, atol=1e-2)


def test_the_bound_ends_where_it_is_lowest(plane):
    run, data, _ = plane
    some = data.take(torch.arange(500))
    costs = {end: float(bound_nats(run, some, end).mean()) for end in nats.POINT_ENDS}
    assert costs[best_end(run, some)] == min(costs.values())


def test_a_row_costs_the_same_in_any_batch(plane, monkeypatch):
    run, data, _ = plane
    some = data.take(torch.arange(30))
    whole = bound_nats(run, some, 10.0, seed=1)
    monkeypatch.setattr(nats, "AT_ONCE", 14)
    torch.testing.assert_close(bound_nats(run, some, 10.0, seed=1), whole)
    assert not torch.equal(bound_nats(run, some, 10.0, seed=2), whole)


def test_conditions_are_given_where_the_run_has_them():
    """-log p(x | label) with labels, and -log p(x) without: log 2 apart for two peaks far from each other."""
    process = Affine(Cosine())
    peaks = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    exact = GaussianMixture.isotropic(process, peaks, std=0.1)
    codec = codec_of("points", (1,), 0.0, 1.0)
    labels = torch.arange(4000) % 2
    x = peaks[labels] + 0.1 * SeededNoise(1).normal(torch.empty(4000, 1).double())
    data = Dataset(x.float(), *labelled(labels))
    told, alone = (run_of(exact, codec, names) for names in (("left", "right"), ()))
    bounds = [bound_nats(run, data, 12.0, draws=64) for run in (told, alone)]
    for cost, truth in zip(bounds, (-exact.log_density(x) - math.log(2), -exact.log_density(x)), strict=True):
        near(cost, truth, slack=5e-3)
    few = data.take(torch.arange(10))
    gap = flow_nats(alone, few, tolerance=1e-6) - flow_nats(told, few, tolerance=1e-6)
    torch.testing.assert_close(gap, torch.full_like(gap, math.log(2)), rtol=0, atol=1e-2)


# --------------------------------------------------------------------------------------------- pictures


def test_smooth_pictures_cost_their_entropy_by_either():
    """Rounded normal pixels of 20 grey levels: log2(20 sqrt(2 pi e)) bits, level by level what the normal law says."""
    process, shape = Affine(Cosine()), (1, 2, 2)
    exact = Gaussian(process, torch.zeros(shape).double(), torch.eye(4).double())
    run = run_of(exact, codec_of("pictures", shape, 120.0, 20.0), recipe="digits")
    z = exact.sample(10_000, SeededNoise(2))
    data = Dataset((120 + 20 * z).round().to(torch.uint8), kind="pictures")
    edges = torch.special.ndtr((data.x.double()[..., None] + torch.tensor([-0.5, 0.5]) - 120) / 20)
    truth = -(edges[..., 1] - edges[..., 0]).log().flatten(1).sum(1)
    end = best_end(run, data)
    assert end == pytest.approx(2 * math.log(2 * 20.0))  # who knows no grey levels leaves them to the decoder
    near(bound_nats(run, data, end, draws=64), truth, slack=4e-3)
    near(flow_nats(run, data, probes=1), truth, slack=4e-3)  # of round data, one probe is exact
    near(truth, torch.full_like(truth, 4 * math.log(20 * math.sqrt(2 * math.pi * math.e))), slack=0.1)


@pytest.fixture(scope="module")
def grey():
    """Two pixels, each independently 100, 101 or 180 with probabilities 1/2, 1/4 and 1/4: 1.5 bits a pixel."""
    pixel = torch.tensor([100, 100, 101, 180], dtype=torch.uint8)
    data = Dataset(torch.cartesian_prod(pixel, pixel).view(16, 1, 1, 2), kind="pictures")
    codec = Normalise.measure(data).double()
    run = run_of(Empirical(Affine(Cosine()), codec.encode(data.x)), codec, recipe="digits")
    return run, data.take(torch.arange(16_000) % 16)


def test_grey_levels_cost_their_entropy_and_no_less(grey):
    run, data = grey
    entropy = 1.5 * math.log(2) * 2
    costs = [bound_nats(run, data, nats._told_apart(run.codec, apart), draws=64) for apart in nats.APART]
    errors = [float(cost.std()) / math.sqrt(len(cost)) for cost in costs]
    gaps = [float(cost.mean()) - entropy for cost in costs]
    assert max(errors) < 0.015
    assert all(gap > -4 * error for gap, error in zip(gaps, errors, strict=True))
    assert gaps[0] > 0.3 and gaps[-1] < 0.05  # a decoder that ignores which levels there are costs, until it is sure
    assert best_end(run, data.take(torch.arange(320))) == nats._told_apart(run.codec, 6)


def test_the_decoder_is_a_softmax_over_the_levels():
    x = torch.tensor([[[[0, 3, 128, 255]]], [[[1, 7, 200, 254]]]], dtype=torch.uint8)
    for s in (0.1, 0.5, 3.0, 40.0):
        width = torch.full((1, 1, 1), s, dtype=torch.float64)
        u = x + s * SeededNoise(4).normal(x.double())
        logits = -0.5 * ((u[..., None] - torch.arange(256)) / s) ** 2
        picked = logits.log_softmax(-1).gather(-1, x.long()[..., None])
        torch.testing.assert_close(grey_nats(x, width, SeededNoise(4)), -picked.flatten(1).sum(1))
    blind = grey_nats(x, torch.full((1, 1, 1), 1e5, dtype=torch.float64), SeededNoise(4))
    torch.testing.assert_close(blind / 4, torch.full_like(blind, math.log(256)), rtol=1e-3, atol=0)


def test_dither_fills_the_level_it_belongs_to():
    x = torch.arange(256, dtype=torch.uint8).repeat(40).view(10, 1, 32, 32)
    dither = nats.dithered(x, SeededNoise(0)).double() - x
    assert -0.5 <= dither.min() < -0.49 and 0.49 < dither.max() <= 0.5
    assert abs(float(dither.mean())) < 4 * math.sqrt(1 / 12 / x.numel())


# --------------------------------------------------------------------------------------------- tokens


def test_tokens_of_several_attributes_cost_what_is_believed_of_them():
    """A network that has learned nothing, told two labels: log2(4) bits a token of 4 levels."""
    recipe = RECIPES["quantised-digits"]()
    codec, names = Levels(4).build("pictures", (1, 4, 4)), {"form": ("a", "b"), "colour": ("x", "y", "z")}
    specified = specifications_of(names)
    recipe = recipe.changed(net=Embedded(UNet(width=8, multiples=(1,)), width=4))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        run = Run(Path("nowhere"), recipe, recipe.denoiser(codec.latent_shape, specified).eval(), codec, specified)
        pictures, labels = (
            torch.randint(0, 256, (150, 1, 4, 4)),
            torch.stack([torch.arange(150) % k for k in (2, 3)], 1),
        )
    data = Dataset(pictures.to(torch.uint8), *labelled(labels, names), kind="pictures")
    bits = token_bits(run, data, draws=4)
    assert bits.error < 0.1 and abs(bits.mean - 2) < 4 * bits.error + 0.05


def test_words_of_a_vocabulary_cost_what_is_believed_of_them():
    """A network that has learned nothing but what a token says itself: log2(8) bits a token of 8, whatever is drawn."""
    recipe = RECIPES["fashion-mnist-vq"]().changed(
        net=Embedded(UNet(width=8, multiples=(1,)), width=4), leave_one_out=True
    )
    codec = VQVAE(codes=8, latent=4, width=8).build("pictures", (1, 8, 8))
    run = Run(Path("nowhere"), recipe, recipe.denoiser(codec.latent_shape, {}).eval(), codec)
    data = Dataset(torch.randint(0, 256, (150, 1, 8, 8), dtype=torch.uint8), kind="pictures")
    found = likelihood(replace(run, recipe=recipe.changed(data=Held(data=data))))
    assert abs(found.cost.mean - 3) < 4 * found.cost.error + 0.05 and found.cost.error < 0.1
    assert math.isnan(found.floor) and found.protocol["of"] == "the vocabulary's tokens, not of pixels"


# --------------------------------------------------------------------------------------------- the whole


class Held(SimpleNamespace):
    """Data that is what it is, in either split."""

    def open(self, split: str) -> Dataset:
        return self.data


def test_a_likelihood_says_what_it_is_and_how_it_was_measured(grey):
    run, data = grey
    run = replace(run, recipe=SimpleNamespace(data=Held(data=data), is_classifier=False, samples=True, stages=()))
    found = likelihood(run, count=2000, seed=3)
    assert found.unit == "bits a dimension"
    assert found.cost.mean == pytest.approx(1.5, abs=4 * found.cost.error + 0.03)
    assert (found.protocol["rows"], found.protocol["seed"], found.cost.repeats) == (2000, 3, 2000)
    assert json.loads(json.dumps(found.to_json()))["floor"] is None
    assert likelihood(run, count=2000, seed=3).cost == found.cost


def test_few_steps_cost_more_and_many_hardly_more_than_infinitely_many(grey):
    run, data = grey
    run = replace(run, recipe=SimpleNamespace(data=Held(data=data), is_classifier=False, samples=True, stages=()))
    few, many, all_of_them = (likelihood(run, count=2000, steps=steps).cost for steps in (5, 500, None))
    assert few.mean > 1.5 * many.mean
    assert many.mean == pytest.approx(all_of_them.mean, abs=4 * many.error + 0.02)


def of_codec(codec, recipe="digits", z=None) -> Run:
    numbers = Affine(EDM(), z) if z else Affine(Cosine())
    process = Categorical(Fading(), ABSORBING, 4) if isinstance(codec.latent_shape, TokenShape) else numbers
    return Run(Path("nowhere"), RECIPES[recipe](), SimpleNamespace(process=process, jumps=()), codec)


PICTURES = Normalise("pictures", (1, 8, 8))


@pytest.mark.parametrize(
    ("run", "options", "said"),
    [
        (of_codec(MLPVAE(latent=2).build("pictures", (1, 8, 8))), {}, "a latent, whose likelihood is not that of"),
        (of_codec(PICTURES, "digits-classifier"), {}, "is a classifier"),
        (of_codec(LabelledCodec((1, 8, 8), 2)), {}, "numbers beside tokens"),
        (of_codec(PICTURES, z=PoissonNoise(4)), {}, "only Gaussian noise has a likelihood"),
        (of_codec(Levels(4).build("pictures", (1, 8, 8))), {"flow": True}, "no probability flow"),
        (of_codec(PICTURES), {"count": 0}, "at least 2, not 0"),
        (of_codec(PICTURES), {"count": 1, "flow": True}, "at least 2, not 1"),
    ],
    ids=["latent", "classifier", "rows", "poisson", "flow of tokens", "no rows", "one row"],
)
def test_what_has_no_likelihood_says_why_in_one_line(run, options, said):
    with pytest.raises(UserError, match=said) as error:
        likelihood(run, **options)
    assert "\n" not in str(error.value)
