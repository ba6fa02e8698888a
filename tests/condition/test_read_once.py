"""Words are read once for all steps of a sampling, and again when they, the weights or the precision are others."""

from functools import partial

import pytest
import torch

from undiffuse.condition.encoder import Encoder
from undiffuse.condition.read import read
from undiffuse.condition.specification import Text
from undiffuse.condition.text import Lookup, Transformer
from undiffuse.condition.words import Words
from undiffuse.core.last import Last
from undiffuse.denoiser.guidance import ClassifierFree, Composed
from undiffuse.net import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.sampling.loop import sample
from undiffuse.step.ddim import DDIM

KNOWN = Words.of(["a small red circle", "a blue square"])
TIMES = (1.0, 0.8, 0.6, 0.4, 0.0)


def of(encoder):
    return {"text": Text(6, KNOWN.size, KNOWN, encoder)}


def asked(specifications, *said):
    return read(specifications, {"text": list(said)})


def count_calls(encoder):
    calls = []
    encoder.entries[0].register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("guide", ["none", "classifier-free", "composed"])
@pytest.mark.parametrize("reader", [Lookup(), Transformer(depth=1, heads=2)])
def test_a_sampling_reads_its_words_once_and_the_samples_are_the_same(reader, guide, monkeypatch):
    """The same samples as those of a sampling that reads them at every step."""
    specifications = of(reader)
    torch.manual_seed(0)
    denoiser = GaussianDiffusion(UNet(8, (1,), embedding=8)).build((1, 4, 4), specifications).eval()
    for weight in denoiser.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    red, both = asked(specifications, "a red circle"), asked(specifications, "a red circle", "a blue square")
    guides = {
        "none": denoiser,
        "classifier-free": ClassifierFree(denoiser, 3.0),
        "composed": Composed(denoiser, ((red, 2.0), (both[1:], 1.0)), 1.5, red),
    }
    calls = count_calls(denoiser.encoder)
    denoise = partial(guides[guide], conditions=both)
    made = partial(sample, denoiser.process, DDIM(denoiser.process), denoise, torch.empty(2, 1, 4, 4), TIMES)
    once = made()
    assert len(calls) == 1
    monkeypatch.setattr(Last, "about", lambda self, of, compute: compute())
    torch.testing.assert_close(made(), once)
    assert len(calls) == 1 + (len(TIMES) - 1)


def test_what_has_changed_is_read_again():
    """Other words, other weights, a change in place, another precision; and always where gradients are wanted."""
    specifications = of(Transformer(depth=1, heads=2))
    torch.manual_seed(0)
    encoder = Encoder(specifications, 8).eval()
    calls, level = count_calls(encoder), torch.tensor(0.0)
    one, other = asked(specifications, "a red circle"), asked(specifications, "a blue square")
    with torch.no_grad():
        first = encoder(level, one)
        assert encoder(level + 1, one).tokens is first.tokens and len(calls) == 1
        assert not torch.equal(encoder(level, other).tokens, first.tokens)
        assert torch.equal(encoder(level, one).tokens, first.tokens) and len(calls) == 3
        encoder.entries[0].table.weight.mul_(2)
        changed = encoder(level, one).tokens
        assert not torch.equal(changed, first.tokens)
        one.entries["text"].values[0, 1] = KNOWN.encode("blue")[0]
        assert not torch.equal(encoder(level, one).tokens, changed)
        with torch.autocast("cpu", torch.bfloat16):
            encoder(level, one)
        assert len(calls) == 6
        encoder.train()(level, one)
        encoder(level, one)
        assert len(calls) == 8
    encoder.eval()
    assert encoder(level, one).tokens.requires_grad and encoder(level, one).tokens.requires_grad
    assert len(calls) == 10
    with torch.inference_mode():
        assert encoder(level, asked(specifications, "a circle")).tokens.shape == (1, 7, 8)
