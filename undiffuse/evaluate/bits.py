"""Bits: how well a run predicts held-out data, by the variational bound, which no sample can flatter.

For tokens, the bound has as many steps as are asked for. By default it has infinitely many for the mask, and STEPS (or
as many as in training) for other kernels. An estimate is a mean over rows, each at a few evenly spread times of the
bound; its standard error is that of the mean over rows.
"""

import math

import torch
from torch import Tensor

from undiffuse.core.noise import Stream
from undiffuse.data.dataset import Dataset
from undiffuse.loss.categorical import MaskedBound, TokenBound
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.measure.estimate import Estimate
from undiffuse.process.kernel import ABSORBING
from undiffuse.run.run import Run

STEPS = 1000
AT_ONCE = 64  # rows


@torch.no_grad()
def token_bits(run: Run, data: Dataset, draws: int = 8, seed: int = 0, steps: int | None = None) -> Estimate:
    """Bits a token of ``data``, at ``draws`` times a row; given the rows' conditions, if the run has some."""
    denoiser, cost = run.denoiser, _cost(run, steps)
    noise = Stream(torch.Generator(run.device).manual_seed(seed))
    conditions = data.conditions if run.specifications else None
    each = []
    for first in range(0, len(data), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        x_0 = _repeated(run.codec.encode(data.x[rows].to(run.device)), draws)
        given = None if conditions is None else conditions[rows].to(run.device).repeat(draws)
        nats = cost(denoiser, x_0, noise, given) + _prior(run, x_0)
        each.append(nats.view(draws, -1).mean(0).cpu().double())
    return summary(torch.cat(each) / math.log(2))


def _repeated(rows: Tensor, times: int) -> Tensor:
    return rows.repeat(times, *[1] * (rows.ndim - 1))


def _cost(run: Run, steps: int | None) -> MaskedBound | TokenBound:
    spread = LowDiscrepancy()
    if steps is None and run.denoiser.process.kernel == ABSORBING:
        return MaskedBound(Uniform(draws=spread))
    trained_on = getattr(run.recipe.model.loss, "time", Uniform()).steps
    return TokenBound(Uniform(steps or trained_on or STEPS, draws=spread), auxiliary=0.0)


def _prior(run: Run, x_0: Tensor) -> Tensor:
    """KL(q(x_1 | x_0) || prior), in nats a token: 0 where nothing is left at t = 1."""
    process = run.denoiser.process
    return process.marginal(x_0, 1.0).kl(process.prior(x_0)) / x_0[0].numel()


def summary(values: Tensor) -> Estimate:
    """Mean and standard error of values (count,)."""
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)), len(values))
