"""Langevin dynamics: a random walk along the score samples a density that is known up to a constant.

    x' = x + a grad log p(x) + sqrt(2a) w,    w ~ N(0, I)

is one Euler-Maruyama step of a diffusion whose equilibrium is p (the unadjusted algorithm, ULA). A finite step a leaves
a bias that further steps do not remove. For N(m, s^2) the chain is linear, and the variance of its equilibrium is

    s^2/(1 - a/(2 s^2))   instead of s^2     (it diverges for a >= 2 s^2).

The adjusted algorithm (MALA; Roberts and Tweedie 1996) accepts a move with probability
min(1, p(x') q(x | x')/(p(x) q(x' | x))), q the normal density of the move; its equilibrium is p exactly.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.distribution import total
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise


class Walker(NamedTuple):
    """The state of the chains, and the density there."""

    x: Tensor  # (batch, *shape)
    log_density: Tensor  # (batch,), up to a constant
    score: Tensor  # its gradient, (batch, *shape)
    moved: Tensor  # (batch,) bool: was the last proposal accepted


def langevin(
    log_density: Callable[[Tensor], Tensor], x: Tensor, size: float, noise: Noise, adjusted: bool = False
) -> Iterator[Walker]:
    """Endless chains from x (batch, *shape): yields every state, first x itself. Stop with `itertools.islice`.

    Args:
        log_density: (batch, *shape) -> (batch,), unnormalised and differentiable.
        x: where the chains start.
        size: the step a. Papers that write x + a/2 score + sqrt(a) w have twice this a.
        noise: the source of randomness; chain i is the same in any batch.
        adjusted: accept or reject each move, so that a finite step has no bias.
    """
    if not size > 0:
        raise UserError(f"Langevin's step must be positive, not {size}")
    here = _look(log_density, x, torch.ones(len(x), dtype=torch.bool, device=x.device))
    while True:
        yield here
        proposal = here.x.add(here.score, alpha=size).add_(noise.normal(here.x), alpha=(2 * size) ** 0.5)
        there = _look(log_density, proposal, here.moved)
        here = _accept(here, there, size, noise) if adjusted else there


def _look(log_density: Callable[[Tensor], Tensor], x: Tensor, moved: Tensor) -> Walker:
    """The log-density at x, and its gradient by autograd."""
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        value = log_density(variable)
        (score,) = torch.autograd.grad(value.sum(), variable)
    return Walker(variable.detach(), value.detach(), score, moved)


def _accept(here: Walker, there: Walker, size: float, noise: Noise) -> Walker:
    """Metropolis-Hastings: accept the move, or stay."""

    def log_move(start: Walker, end: Walker) -> Tensor:
        return -total((end.x - start.x - size * start.score) ** 2) / (4 * size)

    gain = there.log_density - here.log_density + log_move(there, here) - log_move(here, there)
    moved = noise.uniform(gain).log() < gain

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(moved.view(-1, *[1] * (new.ndim - 1)), new, old)

    x, log_density, score, _ = (choose(new, old) for new, old in zip(there, here, strict=True))
    return Walker(x, log_density, score, moved)
