"""Nats: what held-out rows of numbers cost under a run, in the units they are stored in.

Points have a density. The state that diffuses is z = (x - mean)/std, so

    -log p(x) = -log p(z) + sum of log std.

Grey levels have a probability, and there are two ways to estimate it. The bound decodes them: the last, least noisy
state is u, the picture with normal noise of s grey levels, and

    p(x | u) = N(u; x, s^2) / sum over k = 0 ... 255 of N(u; k, s^2),        u = x + s times noise,

entry by entry, without a network (Kingma et al. 2021, section 3.3). The flow gives only a density, so pictures are
dithered, x + U(-1/2, 1/2); the mean of their -log density is at least -log P(x) (Theis et al. 2016, section 3.1).

The bound is valid wherever it ends, so the log-SNR of its end is part of the model. With little noise the decoder costs
almost nothing, but the network must tell grey levels apart at a noise level that it was hardly trained on. With more
noise, the decoder ignores which levels are likely. So the end is chosen among a few on training rows (`best_end`).
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from undiffuse.codec import Normalise
from undiffuse.core.distribution import total
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise, SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.run.run import Run
from undiffuse.theory.likelihood import affine_bound, log_likelihood

NOISE, DATA = -12.0, 12.0  # log-SNR: both begin there, and the flow of points ends there
POINT_ENDS = (6.0, 8.0, 10.0, DATA)  # log-SNR where the bound of points may end
APART = (2, 3, 4, 6)  # of pictures, standard deviations between grey levels; 6 is VDM's log-SNR 13.3 at std 127.5
DITHER = math.sqrt(12)  # likewise where their flow ends: at noise of the dither's own variance, 1/12
LEVELS = 256
AT_ONCE = 1 << 16  # numbers


class _Batch(NamedTuple):
    """Some rows, and all that is the same for them."""

    x: Tensor  # (batch, *shape), as stored
    denoise: Callable[[Tensor, Number], Tensor]  # given the rows' conditions
    noise: Noise


def codec_of(run: Run) -> Normalise:
    """The codec of a run whose data itself diffuses with normal noise. Raises UserError for any other run, and says
    why."""
    instead = "see how good samples are with: undiffuse evaluate RUN"
    if run.codec.no_likelihood:
        raise UserError(f"{run.codec.no_likelihood}; {instead}")
    run.denoiser.process.require_gaussian("a likelihood")
    return cast(Normalise, run.codec)


@torch.no_grad()
def bound_nats(run: Run, data: Dataset, end: float, draws: int = 16, seed: int = 0, steps: int | None = None) -> Tensor:
    """The bound on -log p of each row, (rows,) float64, at ``draws`` noise levels a row.

    For pictures it bounds -log P of the grey levels, for points -log density. It has ``steps`` equal steps in time, or
    infinitely many; ``end`` is the log-SNR where it ends. Raises UserError as `codec_of` does.
    """
    codec = codec_of(run)
    each = []
    for x, denoise, noise in _batches(run, data, seed):
        found = affine_bound(run.denoiser.process, denoise, codec.encode(x), noise, draws, (NOISE, end), steps)
        if codec.quantised:
            found = found._replace(reconstruction=grey_nats(x, codec.std * math.exp(-0.5 * end), noise))
        each.append(found.total.cpu().double())
    return torch.cat(each) + (0.0 if codec.quantised else log_volume(codec))


def best_end(run: Run, data: Dataset, draws: int = 16, seed: int = 0, steps: int | None = None) -> float:
    """The log-SNR, among a few, where the bound is lowest on these rows: training rows, so that held-out ones choose
    nothing.

    Raises UserError as `codec_of` does.
    """
    codec = codec_of(run)
    ends = [_told_apart(codec, apart) for apart in APART] if codec.quantised else POINT_ENDS
    return min(ends, key=lambda end: float(bound_nats(run, data, end, draws, seed, steps).mean()))


def flow_nats(run: Run, data: Dataset, probes: int | None = None, tolerance: float = 1e-4, seed: int = 0) -> Tensor:
    """-log density of each row under the probability flow, (rows,) float64; of pictures, dithered.

    ``probes`` and ``tolerance`` are `log_likelihood`'s. Raises UserError as `codec_of` does.
    """
    codec = codec_of(run)
    end = _told_apart(codec, DITHER) if codec.quantised else DATA
    each = []
    for x, denoise, noise in _batches(run, data, seed):
        x_0 = codec.encode(dithered(x, noise) if codec.quantised else x)
        found = log_likelihood(run.denoiser.process, denoise, x_0, noise, (NOISE, end), probes, tolerance)
        each.append(-found.cpu().double())
    return torch.cat(each) + log_volume(codec)


def grey_nats(x: Tensor, s: Tensor, noise: Noise) -> Tensor:
    """-log p(x | u) for a draw of u, (batch,); x (batch, channels, height, width) uint8, s (channels, 1, 1), in levels.

    The sum runs level by level, so that no tensor is 256 times the picture's size; the term of x itself is 1.
    """
    x = x.to(s.dtype)
    z = noise.normal(x)
    u = x + s * z
    likely = torch.zeros_like(x)
    for level in range(LEVELS):
        likely += torch.exp(0.5 * (z**2 - ((u - level) / s) ** 2))
    return total(likely.log())


def dithered(x: Tensor, noise: Noise) -> Tensor:
    """x + U(-1/2, 1/2), float32: grey levels as a density, whose integral over a bin is the level's probability."""
    x = x.to(torch.float32)
    return x + noise.uniform(x) - 0.5


def log_volume(codec: Normalise) -> float:
    """Sum of log std over all numbers of a row: by how much -log density is larger in the data's units."""
    return float(codec.std.cpu().double().log().expand(codec.shape).sum())


def _told_apart(codec: Normalise, apart: float) -> float:
    """The log-SNR where two grey levels are ``apart`` standard deviations of the noise, where they are closest."""
    return 2 * math.log(apart * float(codec.std.max()))


def _batches(run: Run, data: Dataset, seed: int) -> Iterator[_Batch]:
    """The data piece by piece, with noise that belongs to the row."""
    conditions = data.conditions if run.specifications else None
    at_once = max(1, AT_ONCE // data.x[0].numel())
    for first in range(0, len(data), at_once):
        rows = slice(first, first + at_once)
        given = None if conditions is None else conditions[rows].to(run.device)
        yield _Batch(data.x[rows].to(run.device), partial(run.denoiser, conditions=given), SeededNoise(seed, first))
