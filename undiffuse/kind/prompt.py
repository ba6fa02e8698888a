"""Text of which some is known: a beginning, an end, or anything between holes.

    read(codec, x)                                what tokens say
    infill(run, "To be, or ________ to be", 5)    five texts of which all but the holes is so

What is known is told to the denoiser as it is (`undiffuse.denoiser.categorical.Known`) and comes back as it was given.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.codec.tokens import TokenCodec
from undiffuse.core.errors import UserError, usage
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.denoiser.categorical import Known
from undiffuse.sampling.loop import last, trajectory

if TYPE_CHECKING:
    from undiffuse.run.run import Plan, Run

HOLE = "_"
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
def infill(run: "Run", text: str, count: int, hole: str = HOLE, seed: int = 0, plan: "Plan | None" = None) -> Tensor:
    """``count`` texts (count, length) int32 that are ``text`` wherever it has no ``hole``, and go on after it.

    Exact for the mask, as a network that knows masks knows what is no mask. Under other kernels what is known looks to
    the network as what happens to be untouched: an approximation. Sampled as ``plan`` says, or the run's own.

    Raises:
        UserError: No run of text; a text that is longer than what the run makes, or has characters that it never saw;
            a count below 1.
    """
    codec, process = run.codec, run.denoiser.process
    if not isinstance(codec, TokenCodec):
        raise UserError(f"{run.folder}: makes {run.kind}; only a text takes a prompt")
    if count < 1:
        raise UserError(f"count must be at least 1, not {count}")
    if len(hole) != 1:
        raise UserError(f"a hole is one character, not {hole!r}")
    x_0, known = (part.to(run.device) for part in _spelled(codec, text, hole))
    chosen = plan or run.plan()
    denoise = Known(chosen.denoise, x_0, known)

    def made(rows: range) -> Tensor:
        x, noise = x_0.expand(len(rows), -1), SeededNoise(seed, rows.start)
        start = torch.where(known, x, process.start(x, noise, chosen.times[0]))
        return torch.where(known, x, last(trajectory(chosen.step, denoise, start, chosen.times, noise))).to(torch.int32)

    return in_batches(count, run.batch, made, torch.empty(0, *codec.shape, dtype=torch.int32))


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
