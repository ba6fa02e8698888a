"""The exact denoiser of a few tokens with any joint distribution, by enumeration of all K^L sequences.

A belief about tokens one by one, p(x_0^i | x_t) instead of p(x_0 | x_t), loses something only if tokens depend on each
other: this is the smallest example in which they do.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.process.categorical import Categorical


@dataclass(frozen=True, eq=False)
class Chain:
    """x_0 ~ ``table``: a probability for every sequence, (classes,) * length, normalised here.

    Raises `UserError` if the table does not have the process's number of classes along every axis.
    """

    process: Categorical
    table: Tensor

    def __post_init__(self) -> None:
        classes = self.process.classes
        if self.table.ndim == 0 or set(self.table.shape) != {classes} or not (self.table >= 0).all():
            raise UserError(
                f"a joint distribution of tokens with {classes} classes is a table ({classes}, {classes}, ...) of "
                f"probabilities, not {tuple(self.table.shape)}"
            )

    @classmethod
    def random(cls, process: Categorical, length: int, noise: Noise) -> Self:
        """A random joint distribution: uniform on the simplex of all K^L probabilities."""
        like = torch.empty((process.classes,) * length, dtype=process.dtype)
        return cls(process, -torch.log1p(-noise.uniform(like.flatten()).view_as(like)))

    def __call__(self, x_t: Tensor, t: Number, conditions: None = None) -> Tensor:
        """Logits of p(x_0^i | x_t) for tokens x_t (batch, length): (batch, length, classes).

        For an impossible x_t all logits are 0. At one time for all, each x_t that occurs is computed once.
        """
        if not (isinstance(t, Tensor) and t.ndim):
            states = self.process.classes + 1
            digit = states ** torch.arange(self.table.ndim, device=x_t.device)
            number, which = (x_t * digit).sum(1).unique(return_inverse=True)
            return self._logits(number[:, None] // digit % states, t)[which]
        return self._logits(x_t, t)

    def _logits(self, x_t: Tensor, t: Number) -> Tensor:
        joint = self._log_joint(x_t, t)
        classes, length = self.table.shape[0], self.table.ndim
        probs = joint.softmax(-1) @ F.one_hot(self.sequences, classes).flatten(1).to(joint)
        possible = joint.logsumexp(-1).isfinite()[:, None, None]
        return torch.where(possible, probs.view(-1, length, classes).log(), 0.0)

    def log_density(self, x_t: Tensor, t: Number = 0.0) -> Tensor:
        """log q_t(x_t) in nats, (batch,): a log-probability."""
        return self._log_joint(x_t, t).logsumexp(-1)

    def sample(self, count: int, noise: Noise) -> Tensor:
        """Data, (count, length)."""
        return self.sequences[Discrete(self._log_table.expand(count, -1)).sample(noise)]

    def posterior_sample(self, x_t: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of the joint p(x_0 | x_t), (batch, length)."""
        return self.sequences[Discrete(self._log_joint(x_t, t).log_softmax(-1)).sample(noise)]

    @cached_property
    def sequences(self) -> Tensor:
        """All sequences, in the order of the table, (classes^length, length)."""
        every = itertools.product(range(self.table.shape[0]), repeat=self.table.ndim)
        return torch.tensor(list(every), device=self.table.device)

    def _log_joint(self, x_t: Tensor, t: Number) -> Tensor:
        """log p(x_0, x_t), (batch, classes^length)."""
        every = torch.arange(self.table.shape[0], device=x_t.device)
        every = every.expand(len(t) if isinstance(t, Tensor) and t.ndim else 1, -1)
        marginal = self.process.marginal(every, t).log_probs.mT  # (batch or 1, states, classes)
        marginal = marginal.expand(len(x_t), -1, -1)
        rows, joint = torch.arange(len(x_t), device=x_t.device), self._log_table
        for here, x_0 in zip(x_t.T, self.sequences.T, strict=True):  # a token after the other
            joint = joint + marginal[rows, here][:, x_0]
        return joint

    @cached_property
    def _log_table(self) -> Tensor:
        return (self.table / self.table.sum()).to(self.process.dtype).flatten().log()
