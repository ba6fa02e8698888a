"""Classifiers of noisy data: trained, they come to Bayes' rule; opened, they guide a run, and sample nothing."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from conditioned import labels

import undiffuse
from undiffuse.cli import main
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.label import specifications_of
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.data.ready import Toy
from undiffuse.denoiser.classifier import ConditionClassifier, multiple
from undiffuse.denoiser.guidance import Classifier as ByClassifier
from undiffuse.exact import GaussianMixture
from undiffuse.kind import evaluate
from undiffuse.loss.cross_entropy import CrossEntropy
from undiffuse.net import MLP, UNet
from undiffuse.process import Affine, Cosine, Flow
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling
from undiffuse.train.loop import train

TINY = MLP(width=32, depth=2)
PLAIN = Recipe(
    Toy("rings", 2000),
    GaussianDiffusion(TINY),
    training=Training(steps=400, batch=256, lr=3e-3, warmup=10, report_every=400),
    sampling=Sampling(sampler="dpm++2m", steps=10),
)


def classifying(design, shape, process, **classes):
    """A classifier as a recipe builds it."""
    encoder, times = Encoder({}, design.vector), multiple(shape[0])
    return ConditionClassifier(design.build(shape, encoder.widths, times), times * shape[0], classes, process, encoder)


def two_gaussians(process: Affine) -> GaussianMixture:
    """Of unit variance along the axis between them."""
    return GaussianMixture.isotropic(process, torch.tensor([[-0.8, 0.0], [0.8, 0.0]]), 0.6)


def test_trained_briefly_it_tilts_the_mean_as_the_closed_form_says():
    """sigma^2/alpha grad log p(1 | x_t) = 2 m sigma^2/variance p(0 | x_t) for Gaussians at -m and m."""
    process = Affine(Cosine())
    exact = two_gaussians(process)
    torch.manual_seed(0)
    classifier = classifying(MLP(waves=0), (2,), process, label=2)
    optimizer, loss = torch.optim.AdamW(classifier.parameters()), CrossEntropy()
    for k in range(500):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - k / 500)
        label = torch.randint(0, 2, (512,))
        x_0 = exact.means[label] + 0.6 * torch.randn(512, 2)
        optimizer.zero_grad()
        loss(classifier, x_0, Stream(), labels(label)).mean().backward()
        optimizer.step()

    asked = labels(torch.ones(1000, dtype=torch.int64))
    for t in (0.3, 0.5, 0.7):
        alpha, sigma, _ = process.schedule.at(t)
        variance = alpha**2 * 0.36 + sigma**2
        x_t = process.corrupt(exact.means[torch.arange(1000) % 2] + 0.6 * torch.randn(1000, 2), t, Stream())
        share = torch.sigmoid(2 * alpha * 0.8 * x_t[:, 0] / variance)
        tilt = ByClassifier(lambda x, t, c: exact(x, t), classifier.log_prob, process.schedule, 2.0)(x_t, t, asked)
        tilt = tilt - exact(x_t, t)
        expected = 2 * 0.8 * sigma**2 / variance * (1 - share)
        assert (tilt[:, 0] - expected).abs().mean() < 0.15 * expected.mean()
        assert tilt[:, 1].abs().mean() < 0.15 * expected.mean()


@pytest.mark.parametrize(("net", "shape"), [(TINY, (2,)), (UNet(width=8), (3, 5, 7)), (UNet(width=8), (1, 8, 8))])
@pytest.mark.parametrize("classes", [{"one": 4}, {"one": 2, "other": 3}])
def test_any_network_classifies(net, shape, classes):
    """Probabilities of each attribute add up to one, and log_prob adds those that are told."""
    classifier = classifying(net, shape, Affine(Cosine()), **classes)
    x_t = torch.randn(3, *shape)
    for t in (0.4, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)):
        every = classifier(x_t, t)
        assert {name: part.shape for name, part in every.items()} == {name: (3, n) for name, n in classes.items()}
        assert all(torch.allclose(part.exp().sum(1), torch.ones(3)) for part in every.values())
        asked = {
            name: torch.tensor(column)
            for name, column in (("one", [1, -1, 0]), ("other", [2, 0, -1]))
            if name in classes
        }
        expected = sum(
            torch.stack([part[k, column[k]] if column[k] >= 0 else torch.zeros(()) for k in range(3)])
            for part, column in zip(every.values(), asked.values(), strict=True)
        )
        torch.testing.assert_close(classifier.log_prob(x_t, t, labels(**asked)), expected)


def test_where_little_is_left_of_the_data_it_moves_the_mean_by_a_bounded_amount():
    """sigma^2/alpha is 12,000 there; the gradient, of weights that were never trained, falls as alpha does."""
    process = Affine(Cosine())
    torch.manual_seed(0)
    classifier = classifying(TINY, (2,), process, label=3)
    torch.nn.init.normal_(classifier.net.head.weight, std=0.1)
    x_t, asked = torch.randn(50, 2), labels(torch.arange(50) % 3)
    sizes = []
    for log_snr in (-2.0, -10.0, -18.8):
        t = float(process.schedule.time(torch.tensor(log_snr, dtype=torch.float64)))
        moved = ByClassifier(lambda x_t, t, c: 0 * x_t, classifier.log_prob, process.schedule, 2.0)(x_t, t, asked)
        sizes.append(float(moved.norm(dim=1).mean()))
    assert max(sizes) < 5 * sizes[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three rings: with labels, without, and told apart."""
    folder = tmp_path_factory.mktemp("classifiers")
    return {
        "labelled": train(PLAIN, folder / "labelled", quiet=True),
        "classifier": train(
            PLAIN.changed(loss=CrossEntropy(), condition_dropout=0.0), folder / "classifier", quiet=True
        ),
    }


def unlabelled(run):
    """The run as if it had been trained without labels."""

    class Blind(torch.nn.Module):
        learned_variance, jumps = False, ()

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.process = run.denoiser, run.denoiser.process

        def forward(self, x_t, t):
            return self.inner(x_t, t)

    return replace(run, denoiser=Blind(), specifications={})


def test_it_guides_a_run_without_labels(runs):
    """Asked for a ring by the classifier's label: farther out for the outer one."""
    plain, classifier = unlabelled(runs["labelled"]), undiffuse.load(runs["classifier"].folder)
    data = runs["labelled"].dataset()
    guided = plain.guided_by(classifier=classifier)
    assert guided.labels(4).tolist() == [0, 1, 2, 0]
    real = [data.x[data.labels == k].norm(dim=1).mean() for k in range(3)]
    made = [guided.sample(300, label=k).norm(dim=1).mean() for k in range(3)]
    for k in range(3):
        assert min(range(3), key=lambda j: abs(made[k] - real[j])) == k
    assert torch.equal(guided.sample(5, guidance=1.0), plain.sample(5))


def test_off_is_off_with_any_other_run(runs):
    run, classifier = runs["labelled"], runs["classifier"]
    plain = run.sample(6, seed=1)
    by_classifier, by_worse = run.guided_by(classifier=classifier), run.guided_by(worse=run)
    for guided, weight in ((by_classifier, 1.0), (by_worse, 1.0), (by_worse, 3.0)):
        torch.testing.assert_close(guided.sample(6, seed=1, guidance=weight), plain)  # no better than oneself
    inside = run.sample(6, seed=1, guidance=Guidance(3.0, interval=(1e5, 1e6)))
    assert torch.equal(inside, plain)
    assert not torch.allclose(run.sample(6, seed=1, guidance=Guidance(3.0, interval=(0.1, 10))), plain)


def test_it_samples_nothing_and_says_what_it_is_for(runs, capsys):
    with pytest.raises(UserError, match="--classifier"):
        runs["classifier"].sample(2)
    assert main(["sample", str(runs["classifier"].folder)]) == 2
    assert "guide another run by it" in capsys.readouterr().err


def test_its_accuracy_by_noise_level(runs):
    """Nearly right on clean rings, near guessing where nothing is left, and falling between."""
    found = evaluate(runs["classifier"])
    values = [row.value for row in found.rows]
    assert values[0] > 0.9 and abs(values[-1] - found.rows[-1].floor) < 0.25
    assert all(later < earlier + 0.05 for earlier, later in pairwise(values))


def on_schedule(run, schedule):
    denoiser = copy.copy(run.denoiser)
    denoiser.process = replace(denoiser.process, schedule=schedule)
    return replace(run, denoiser=denoiser)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: on_schedule(run, Flow()), "another schedule"),
        (lambda run: replace(run, specifications=specifications_of(("a", "b", "c"))), "knows other conditions"),
        (lambda run: replace(run, recipe=PLAIN), "is no classifier; train one with"),
    ],
)
def test_a_classifier_of_something_else(runs, change, said):
    with pytest.raises(UserError, match=said) as caught:
        runs["labelled"].guided_by(classifier=change(runs["classifier"]))
    assert "\n" not in str(caught.value)


def test_a_classifier_needs_labels(tmp_path):
    with pytest.raises(UserError, match="needs data with labels"):
        train(PLAIN.changed(data=Toy("swiss-roll", 300), loss=CrossEntropy()), tmp_path / "none", quiet=True)
