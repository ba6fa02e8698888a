"""unCLIP in small: pictures and texts as vectors, a prior of these, a decoder; one run."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.condition.conditions import Conditions
from undiffuse.condition.specification import Vector
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.data.synthetic.shapes import shapes as module
from undiffuse.denoiser.contrastive import HOTTEST
from undiffuse.evaluate.retrieval import AMONG, retrieval
from undiffuse.kind import evaluate
from undiffuse.loss.contrastive import Contrastive
from undiffuse.net import MLP, UNet
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run import embed
from undiffuse.run.embed import pictures_embedded, texts_embedded
from undiffuse.run.stages import read_off
from undiffuse.train.loop import train

NET = UNet(width=8, multiples=(1, 1), attention=1, embedding=16)
BRIEF = {"steps": 2, "batch": 4, "warmup": 1, "save_every": 2, "report_every": 2, "data.count": 40, "data.size": 16}


def small() -> Recipe:
    """The recipe, with networks and data that take no time."""
    recipe = RECIPES["shapes-unclip"]()
    for stage in ("", "embedding.", "embedding.clip."):
        recipe = recipe.changed(**{f"{stage}{name}": value for name, value in BRIEF.items() if "data" not in name})
    for name in ("count", "size"):
        recipe = recipe.changed(**{f"data.{name}": BRIEF[f"data.{name}"]})
    nets = {"net": NET, "embedding.net": MLP(width=16, depth=1, embedding=16), "embedding.clip.net": NET}
    return recipe.changed(**nets, sampling_steps=2, **{"embedding.sampling_steps": 2, "embedding.clip.dimensions": 6})


@pytest.fixture(scope="module")
def unclip(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD_OUT", 2 * AMONG)
        yield train(small(), tmp_path_factory.mktemp("unclip") / "run", quiet=True)


@pytest.fixture(scope="module")
def clip(unclip):
    return unclip.stages["embedding"].stages["clip"]


def test_the_data_of_all_stages_is_one():
    recipe = small()
    prior = recipe.stages[0].recipe
    assert recipe.data == prior.data == prior.stages[0].recipe.data
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_each_row_is_told_the_vector_of_its_picture(unclip, clip, monkeypatch):
    monkeypatch.setattr(embed, "pictures_embedded", None)  # they were computed in training, and are kept
    data, plain = unclip.dataset("test"), unclip.recipe.data.open("test")
    assert unclip.specifications["embedding"] == Vector(6)
    assert list(data.conditions.entries) == ["text", "embedding"]
    torch.testing.assert_close(data.conditions.entries["embedding"].values, pictures_embedded(clip, plain.x))
    prior = unclip.stages["embedding"]
    assert (prior.kind, prior.shape) == ("points", (6,))
    assert list(prior.specifications) == ["text"]


def test_vectors_have_the_length_of_noise(clip):
    data = clip.dataset("test")
    for found in (pictures_embedded(clip, data.x[:9]), texts_embedded(clip, data.conditions[:9])):
        torch.testing.assert_close(found.norm(dim=1), torch.full((9,), math.sqrt(6)))


def test_it_draws_the_vector_and_then_the_picture(unclip):
    text = "a red circle"
    drawn = unclip.sample(2, text=text, seed=3)
    vectors = unclip.stages["embedding"].sample(2, text=text, seed=3)
    assert drawn.equal(unclip.sample(2, text=text, embedding=vectors, seed=3))
    asked = unclip.draw(2, {"text": text}).conditions
    assert list(asked.entries) == ["text"]


def test_variations_have_the_vector_of_the_picture(unclip, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = clip.dataset("test").x[:1]
    Image.fromarray(x[0].permute(1, 2, 0).numpy()).save("a.png")
    torch.testing.assert_close(read_off(unclip, x)["embedding"], pictures_embedded(clip, x))
    words = ["sample", str(unclip.folder), "-n", "3", "--seed", "4", "--out", "x.npy"]
    assert main([*words, "--like", "a.png"]) == 0, capsys.readouterr().err
    told = unclip.sample(3, embedding=pictures_embedded(clip, x), seed=4)
    assert np.array_equal(np.load("x.npy"), told.numpy())
    assert main(["invert", str(unclip.folder), "a.png", "--like", "a.png", "--steps", "3"]) == 0
    assert main(["interpolate", str(unclip.folder), "--files", "a.png,a.png", "-n", "3", "--steps", "3"]) == 0
    assert main([*words, "--like", "b.png", "--force"]) == 1
    assert "b.png: no such file" in capsys.readouterr().err


def test_what_does_not_sample_says_what_it_does(clip, capsys):
    with pytest.raises(UserError, match="which texts and pictures belong together"):
        clip.sample(2)
    rows = evaluate(clip).rows
    assert [row.name for row in rows] == ["own caption found", "own picture found"]
    assert main(["sample", str(clip.folder)]) == 2
    assert "undiffuse evaluate" in capsys.readouterr().err


class Told:
    """A model of pictures and texts that is told their vectors."""

    def __init__(self, pictures, texts, scale=1.0):
        self.pictures, self.texts, self.scale = pictures, texts, torch.tensor(scale)

    def of_pictures(self, x):
        return self.pictures

    def of_texts(self, conditions):
        return self.texts


def test_pairs_that_cannot_be_told_apart_cost_their_logarithm(unclip):
    asked, x = unclip.dataset("test").conditions[:7], torch.zeros(7, 3, 4, 4)
    same = torch.nn.functional.normalize(torch.ones(7, 5), dim=1)
    loss = Contrastive()(Told(same, same, 50.0), x, Stream(), asked)
    torch.testing.assert_close(loss, torch.full((7,), math.log(7)))
    own = torch.eye(7)
    assert float(Contrastive()(Told(own, own, HOTTEST), x, Stream(), asked).max()) < 1e-6
    u, v = torch.nn.functional.normalize(torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0)), dim=2)
    losses = [Contrastive()(Told(*pair, 3.0), x, Stream(), asked) for pair in ((u, v), (v, u))]
    torch.testing.assert_close(*losses)  # neither direction comes first
    with pytest.raises(UserError, match="pictures with captions"):
        Contrastive()(Told(u, v), x, Stream(), None)


def test_the_temperature_has_an_end(clip):
    model = clip.denoiser
    before = model.log_scale.clone()
    model.log_scale.fill_(9.0)
    assert float(model.scale) == HOTTEST
    model.log_scale.copy_(before)


def test_retrieval_is_all_or_chance(clip, monkeypatch):
    data = clip.dataset("test")
    assert len(data) == 2 * AMONG
    order = {tuple(row.flatten().tolist()): k for k, row in enumerate(data.x)}
    basis = torch.eye(2 * AMONG)
    rows = torch.tensor([order[tuple(row.flatten().tolist())] for row in data.x])
    monkeypatch.setattr(clip.denoiser, "dimensions", 2 * AMONG)
    place = "undiffuse.evaluate.retrieval"
    monkeypatch.setattr(
        f"{place}.pictures_embedded", lambda run, x: basis[[order[tuple(r.flatten().tolist())] for r in x]]
    )
    permutation = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(f"{place}.texts_embedded", lambda run, asked: basis[rows[permutation]])
    assert retrieval(clip, data) == {"caption": 1.0, "picture": 1.0}
    monkeypatch.setattr(f"{place}.texts_embedded", lambda run, asked: basis[rows[permutation]].roll(1, 0))
    assert max(retrieval(clip, data).values()) < 0.02
    with pytest.raises(UserError, match="at least 100"):
        retrieval(clip, data.take(torch.arange(AMONG - 1)))


def test_without_captions_there_are_no_such_models(tmp_path):
    recipe = RECIPES["shapes-clip"]().changed(data=undiffuse.data.ready.Digits())
    with pytest.raises(UserError, match="pictures with captions"):
        train(recipe, tmp_path / "run", quiet=True)


def test_asked_by_name_alone_conditions_are_completed(unclip):
    asked = unclip.recipe.data.open("test").conditions[:2]
    assert isinstance(asked, Conditions)
    assert unclip.sample(2, asked).shape == (2, 3, 16, 16)
