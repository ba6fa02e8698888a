"""A gap of unknown length is filled by the law of the data, all lengths being as likely at first."""

import torch

from undiffuse.codec import TokenCodec
from undiffuse.core.noise import SeededNoise
from undiffuse.data.alphabet import Characters
from undiffuse.exact import Chain
from undiffuse.process import ABSORBING, Categorical, Fading
from undiffuse.run.gap import Gap, lengths
from undiffuse.run.given import Drawing
from undiffuse.sampling.grid import trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.unmask import FirstHitting

DRAWS, LENGTH = 6_000, 5
PROCESS = Categorical(Fading(), ABSORBING, 2, torch.float64)
CHAIN = Chain.random(PROCESS, LENGTH, SeededNoise(1))
BEFORE, AFTER = torch.tensor([1]), torch.tensor([0, 1])
TABLE = (CHAIN.table / CHAIN.table.sum()).flatten()


def matches() -> torch.Tensor:
    """Which sequences have what is after the gap n tokens further, (lengths, sequences) bool."""
    x = CHAIN.sequences
    begins = x[:, 0] == 1
    return torch.stack([begins & (x[:, 1 + n] == 0) & (x[:, 2 + n] == 1) for n in range(3)])


def test_how_long_it_is_is_as_likely_as_what_is_known_fits():
    found = lengths(CHAIN, PROCESS, BEFORE, AFTER, LENGTH).softmax(0)
    weights = (matches() * TABLE).sum(1)
    torch.testing.assert_close(found, weights / weights.sum())


def test_what_fills_it_has_the_law_of_the_data():
    noise, codec = SeededNoise(3), TokenCodec((LENGTH,), Characters(("a", "b")))
    step = FirstHitting(PROCESS)
    drawing = (
        Gap(BEFORE, AFTER).take(range(DRAWS)).heeded(Drawing(PROCESS, codec, step, CHAIN, noise, torch.device("cpu")))
    )
    start = drawing.first(torch.full((DRAWS, LENGTH), 2))
    x = last(trajectory(step, drawing.denoise, start, trailing(PROCESS.schedule, LENGTH), noise))
    shares = (x @ torch.tensor([16, 8, 4, 2, 1])).bincount(minlength=32) / DRAWS
    truth = (matches() * TABLE).sum(0)
    torch.testing.assert_close(shares, (truth / truth.sum()).float(), rtol=0, atol=0.025)
