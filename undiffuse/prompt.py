"""Text of which some is known: a beginning, an end, or anything between holes.

    read(codec, x)                                what tokens say
    infill(run, "To be, or ________ to be", 5)    five texts of which all but the holes is so

What is known is told to the denoiser as it is (`undiffuse.tokens.Known`) and comes back as it was given.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.codec.tokens import TokenCodec
from undiffuse.errors import UserError, usage
from undiffuse.noise import SeededNoise
from undiffuse.sample import last, trajectory
from undiffuse.samplers import TOKEN_SAMPLERS
from undiffuse.tokens import Known

if TYPE_CHECKING:
    from undiffuse.run import Run

HOLE = "_"
BATCH = 256  # texts at once
MASK = "\N{WHITE SQUARE}"  # what a token is shown as while it is masked


def read(codec: object, x: Tensor) -> list[str]:
    """The texts of tokens (count, length); a mask is shown as a white square."""
    if not isinstance(codec, TokenCodec):
        raise UserError("only a run of text makes text")
    return [MASK.join(codec.alphabet.decode(run) for run in _unmasked(piece, codec.alphabet.size)) for piece in x]


def _unmasked(piece: Tensor, mask: int) -> Iterator[Tensor]:
    """The runs of tokens between masks."""
    ends = [-1, *(piece == mask).nonzero()[:, 0].tolist(), len(piece)]
    return (piece[start + 1 : stop] for start, stop in pairwise(ends))


@usage()
def infill(
    run: "Run",
    text: str,
    count: int,
    hole: str = HOLE,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
) -> Tensor:
    """``count`` texts (count, length) int32 that are ``text`` wherever it has no ``hole``, and go on after it.

    Exact for the mask, as a network that knows masks knows what is no mask. Under other kernels what is known looks to
    the network as what happens to be untouched: an approximation.

    Raises:
        UserError: No run of text; a text that is longer than what the run makes, or has characters that it never saw.
    """
    codec = run.codec
    if not isinstance(codec, TokenCodec):
        raise UserError(f"{run.folder}: makes {run.kind}; only a text takes a prompt")
    if count < 1:
        raise UserError(f"count must be at least 1, not {count}")
    if len(hole) != 1:
        raise UserError(f"a hole is one character, not {hole!r}")
    x_0, known = _spelled(codec, text, hole)
    sampler = sampler or run.recipe.sampler
    return _drawn(run, x_0.to(run.device), known.to(run.device), count, steps, sampler, seed)


@torch.no_grad()
def _drawn(run: "Run", x_0: Tensor, known: Tensor, count: int, steps: int | None, sampler: str, seed: int) -> Tensor:
    if sampler not in TOKEN_SAMPLERS:
        raise UserError(f"a sampler of tokens is one of {', '.join(TOKEN_SAMPLERS)}, not {sampler}")
    chosen, process = TOKEN_SAMPLERS[sampler], run.denoiser.process
    times = chosen.grid(process.schedule, run.recipe.sampling_steps if steps is None else steps)
    made = []
    for first in range(0, count, BATCH):
        x = x_0.expand(min(BATCH, count - first), -1)
        noise = SeededNoise(seed, first)
        start = torch.where(known, x, process.start(x, noise, times[0]))
        denoise = Known(run.denoiser, x_0, known)
        ended = last(trajectory(chosen.make(process), denoise, start, times, noise))
        made.append(torch.where(known, x, ended).to(torch.int32).cpu())
    return torch.cat(made)


def _spelled(codec: TokenCodec, text: str, hole: str) -> tuple[Tensor, Tensor]:
    """The text as tokens (length,), and which of them are known."""
    tokens, known = [], []
    for k, part in enumerate(text.split(hole)):
        spelled = codec.alphabet.encode(part).tolist() if part else []
        tokens += [0] * (k > 0) + spelled
        known += [False] * (k > 0) + [True] * len(spelled)
    length = codec.shape[0]
    if len(tokens) > length:
        raise UserError(f"this prompt has {len(tokens)} tokens, and what the run makes has {length}; shorten it")
    rest = length - len(tokens)
    return torch.tensor(tokens + [0] * rest), torch.tensor(known + [False] * rest)
