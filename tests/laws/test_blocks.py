"""Block diffusion: its bound is the entropy at every size of a block, its passes agree, and it samples the law."""

import math

import pytest
import torch
from torch import nn

from undiffuse.condition.encoder import Encoder
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.exact import Chain
from undiffuse.loss.categorical import MaskedBound, TokenBound
from undiffuse.loss.time import Uniform
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import ABSORBING, Categorical, Fading
from undiffuse.process.categorical import TokenShape
from undiffuse.sampling.grid import trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.in_blocks import InBlocks
from undiffuse.step.unmask import FirstHitting

DRAWS, LENGTH = 20_000, 4
PROCESS = Categorical(Fading(), ABSORBING, 2, torch.float64)
CHAIN = Chain.random(PROCESS, LENGTH, SeededNoise(1))
ENTROPY = float(-(CHAIN.table / CHAIN.table.sum()).xlogy(CHAIN.table / CHAIN.table.sum()).sum()) / LENGTH


class KnowsBlocks(nn.Module):
    """The exact denoiser of blocks: of each, given the clean tokens before it, and nothing after it."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block, self.process = block, PROCESS

    def beside(self, x_t, clean, conditions=None):
        said = []
        for start in range(0, LENGTH, self.block):
            end = start + self.block
            seen = torch.cat([clean[:, :start], x_t[:, start:end], torch.full_like(x_t[:, end:], 2)], 1)
            said.append(CHAIN(seen, 0.5)[:, start:end])
        return torch.cat(said, 1)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_of_the_exact_denoiser_the_bound_of_blocks_is_the_entropy(block):
    torch.manual_seed(0)
    losses = MaskedBound()(KnowsBlocks(block), CHAIN.sample(DRAWS, SeededNoise(2)), Stream())
    error = float(losses.std()) / math.sqrt(DRAWS)
    assert error < 0.02 * ENTROPY and abs(float(losses.mean()) - ENTROPY) < 4 * error


def test_of_single_tokens_all_masked_it_is_the_likelihood_itself():
    """No draw is random then: each row costs -log p of itself."""
    x_0 = CHAIN.sequences
    losses = MaskedBound(rates=(1.0, 1.0))(KnowsBlocks(1), x_0, SeededNoise(0))
    table = (CHAIN.table / CHAIN.table.sum()).flatten().float()
    torch.testing.assert_close(losses * LENGTH, -table.log(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("step", [FirstHitting, Ancestral])
def test_block_after_block_has_the_law_of_the_data(block, step):
    """With a step for each token; an ancestral step, which may reveal two at once, gets many."""
    each = block if step is FirstHitting else 60
    blocks = InBlocks(step(PROCESS), trailing(PROCESS.schedule, each), block, LENGTH)
    start = torch.full((DRAWS, LENGTH), 2)
    x = last(trajectory(blocks, CHAIN, start, blocks.times, SeededNoise(3)))
    shares = (x @ torch.tensor([8, 4, 2, 1])).bincount(minlength=16) / DRAWS
    truth = (CHAIN.table / CHAIN.table.sum()).flatten().float()
    torch.testing.assert_close(shares, truth, rtol=0, atol=0.012)


@pytest.mark.parametrize("rates", [(0.0, 1.0), (0.5, 1.0)])
def test_each_block_has_masks_and_each_number_of_them_is_as_likely(rates):
    seen = []

    class Watched(KnowsBlocks):
        def beside(self, x_t, clean, conditions=None):
            seen.append((x_t == 2).view(-1, 4).sum(1))
            return super().beside(x_t, clean)

    MaskedBound(rates=rates)(Watched(4), CHAIN.sample(DRAWS, SeededNoise(2)), SeededNoise(3))
    shares, first = seen[0].bincount(minlength=5) / DRAWS, 1 + int(4 * rates[0])
    truth = torch.where(torch.arange(5) < first, 0.0, 1 / (5 - first))
    torch.testing.assert_close(shares, truth, rtol=0, atol=1e-3)


def denoiser(block: int = 4, length: int = 16, readers: int = 0) -> TokenDenoiser:
    torch.manual_seed(0)
    process = Categorical(Fading(), ABSORBING, 5)
    design = TokenTransformer(width=32, depth=3, heads=4, time=False, block=block, readers=readers)
    encoder = Encoder({}, design.vector, False)
    net = design.build(TokenShape((length,), 5), process.states, encoder.widths)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.3)
    return TokenDenoiser(net, process, encoder=encoder)


@torch.no_grad()
@pytest.mark.parametrize("readers", [0, 1, 2])
@pytest.mark.parametrize("block", [1, 4, 16])
def test_one_pass_over_noisy_and_clean_tokens_is_a_pass_for_each_block(block, readers):
    model, clean = (
        denoiser(block, readers=readers),
        torch.randint(5, (3, 16), generator=torch.Generator().manual_seed(1)),
    )
    noisy = torch.where(torch.rand(3, 16, generator=torch.Generator().manual_seed(2)) < 0.5, 5, clean)
    at_once = model.beside(noisy, clean)
    for start in range(0, 16, block):
        end = start + block
        seen = torch.cat([clean[:, :start], noisy[:, start:end], torch.full((3, 16 - end), 5)], 1)
        torch.testing.assert_close(at_once[:, start:end], model(seen, 0.5)[:, start:end], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("readers", [0, 2])
def test_what_was_read_before_is_seen_as_if_it_were_read_again(readers):
    model, clean = denoiser(readers=readers), torch.randint(5, (3, 16), generator=torch.Generator().manual_seed(1))
    routes = model.routes(1.0, clean, None)
    context = model.net.read(clean[:, 4:8], routes, model.net.read(clean[:, :4], routes))
    masked = torch.where(torch.arange(4) % 2 == 0, 5, clean[:, 8:12])
    whole = model(torch.cat([clean[:, :8], masked], 1), 0.5)[:, 8:]
    for _ in range(2):  # what is asked is not kept
        torch.testing.assert_close(model.net(masked, routes, past=context), whole, rtol=1e-4, atol=1e-5)


def test_what_blocks_cannot_be_is_said():
    with pytest.raises(UserError, match="add --net"):
        TokenTransformer(block=4)
    with pytest.raises(UserError, match="a block has at least 1 token"):
        TokenTransformer(block=0, time=False)
    with pytest.raises(UserError, match="readers are some of the 2 layers"):
        TokenTransformer(depth=2, block=4, time=False, readers=2)
    with pytest.raises(UserError, match=r"blocks are --net\.block 4"):
        TokenTransformer(readers=1)
    with pytest.raises(UserError, match=r"leave --loss\.time\.start out"):
        MaskedBound(Uniform(start=0.5)).check(denoiser())
    with pytest.raises(UserError, match="16 tokens are no whole blocks of 5"):
        denoiser(5)
    with pytest.raises(UserError, match="add --loss masked-bound"):
        TokenBound().check(denoiser())
    with pytest.raises(UserError, match="the least and the most share of masks"):
        MaskedBound(rates=(0.5, 0.2))
