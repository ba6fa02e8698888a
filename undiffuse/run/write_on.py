"""Text of any length: what comes after a prompt, piece by piece.

    for piece in write_on(run, prompt, 2000): ...              each (count, tokens), as it is drawn

A network of blocks draws the next block, given what it read before: the keys and values of each layer are kept, so a
step costs no more than a block. When its context is as long as what it was trained on, the older half is forgotten.
Any other run draws the end of a window that slides over the text; what the window holds is known.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.read import Request
from undiffuse.core.errors import UserError, usage
from undiffuse.core.linear import Number
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.denoiser.known import Known
from undiffuse.net.token_transformer import Context, TokenNet
from undiffuse.run.given import Given
from undiffuse.run.run import Run
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.sampling import Sampling
from undiffuse.step.in_blocks import InBlocks

NEW = 4  # a window is drawn anew by this part of its length


@torch.no_grad()
def write_on(
    run: Run, prompt: Tensor, tokens: int, count: int = 1, sampling: Sampling | None = None, conditions: Request = None
) -> Iterator[Tensor]:
    """``tokens`` more after a prompt (length,), drawn ``count`` times: pieces (count, some).

    Raises:
        UserError: A number of tokens below 1; else as `Run.draw` does.
    """
    with usage():
        if tokens < 1:
            raise UserError(f"--tokens is how many are written, at least 1, not {tokens}")
    how, left = sampling or run.sampling, tokens
    cached = run.denoiser.block is not None and not run.specifications
    pieces = _by_blocks(run, prompt, count, how) if cached else _by_windows(run, prompt, count, how, conditions)
    for piece in pieces:
        yield piece[:, :left].cpu()
        left -= piece.shape[1]
        if left <= 0:
            return


def context_of(run: Run) -> int:
    """How many tokens before a new one are seen, at most."""
    length = run.shape[0]
    return length - (run.denoiser.block or length // NEW)


class AfterContext:
    """A denoiser of the tokens of one block, given what was read before it."""

    def __init__(self, denoiser: TokenDenoiser, context: Context) -> None:
        self.denoiser, self.context = denoiser, context

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """Logits (batch, block, classes)."""
        said: Tensor = self.denoiser.net(x_t, self.denoiser.routes(t, x_t, conditions), past=self.context)
        return said


def _by_blocks(run: Run, prompt: Tensor, count: int, how: Sampling) -> Iterator[Tensor]:
    """The rest of the present block, then block after block."""
    denoiser, plan = cast(TokenDenoiser, run.denoiser), run.plan(how)
    assert isinstance(plan.step, InBlocks) and denoiser.block is not None
    block, noise, process = denoiser.block, SeededNoise(how.seed), denoiser.process
    text = prompt.to(run.device).expand(count, -1)
    context = _read(run, text, context_of(run))
    while True:
        begun = text.shape[1] % block
        blank = process.blank(count, (block,), run.device)
        x_0, known = blank.clone(), torch.zeros_like(blank, dtype=torch.bool)
        x_0[:, :begun], known[:, :begun] = text[:, text.shape[1] - begun :], True
        denoise = Known(run.in_half(AfterContext(denoiser, context).__call__), process, x_0, known)
        x = torch.where(known, x_0, process.start(blank, noise))
        x = last(trajectory(plan.step.step, denoise, x, plan.step.inner, noise))
        yield x[:, begun:]
        text = torch.cat([text[:, : text.shape[1] - begun], x], 1)[:, -run.shape[0] :]
        if context.length + block > context_of(run):
            context = _read(run, text, context_of(run) // 2)
        else:
            context = _extended(run, x, context)


def _read(run: Run, text: Tensor, most: int) -> Context:
    """What is seen of the last whole blocks of a text: ``most`` tokens, or fewer, but one block at least."""
    block = cast(int, run.denoiser.block)
    whole = text[:, : text.shape[1] // block * block]
    return _extended(run, whole[:, whole.shape[1] - min(whole.shape[1], max(block, most // block * block)) :], None)


def _extended(run: Run, tokens: Tensor, context: Context | None) -> Context:
    net = cast(TokenNet, run.denoiser.net)
    read = run.in_half(net.read)
    return read(tokens, run.denoiser.routes(1.0, tokens, None), context)


def _by_windows(run: Run, prompt: Tensor, count: int, how: Sampling, conditions: Request) -> Iterator[Tensor]:
    """The rest of the present window, then its last part again and again."""
    length, text, number = run.shape[0], prompt.expand(count, -1), 0
    new = length - context_of(run)
    while True:
        kept = text[:, max(0, text.shape[1] - (length - new)) :]
        drawn = length - kept.shape[1]
        known = torch.arange(length).expand(count, -1) < kept.shape[1]
        given = Given(torch.cat([kept, kept.new_zeros(count, drawn)], 1), known)
        steps = max(1, round((how.steps or length) * drawn / length))
        x = run.draw(count, conditions, replace(how, steps=steps), given, first=number * count).x.to(text)
        yield x[:, length - drawn :]
        text, number = torch.cat([kept, x[:, length - drawn :]], 1), number + 1
