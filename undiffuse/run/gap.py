"""A gap of unknown length: text before it, text after it, and as many tokens between as the model finds likely.

    p(n | before, after)  ~  p(after, n tokens further | before)

with all lengths n that fit equally likely at first. The right side is a product over the tokens of ``after``: each is
asked of the denoiser with those before it revealed, and everything else masked. Then n is drawn, and the gap is filled
as any hole is; so an exact denoiser fills it by the law of the data (`tests/laws/test_gap.py`).
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.denoiser.guidance import Conditional
from undiffuse.process.categorical import Categorical
from undiffuse.process.kernel import ABSORBING
from undiffuse.run.given import Drawing, Given


@dataclass(frozen=True)
class Gap:
    """What is told of samples: the tokens ``before`` and ``after`` a gap, each (some,)."""

    before: Tensor
    after: Tensor
    rows: range = range(1)

    @property
    def x(self) -> Tensor:
        """All that is known, (1, tokens)."""
        return torch.cat([self.before, self.after])[None]

    def take(self, rows: range) -> Self:
        """The same of each sample."""
        return replace(self, rows=rows)

    def heeded(self, drawing: Drawing) -> Drawing:
        """Drawing that fills a gap of a length of its own in each sample. Raises UserError but for masks."""
        process = drawing.process
        if not isinstance(process, Categorical) or process.kernel != ABSORBING:
            raise UserError("a gap is filled by a model of masked tokens: train with --kernel.mask 1")
        before, after = self.before.to(drawing.device), self.after.to(drawing.device)
        length = drawing.codec.latent_shape[0]
        likely = lengths(drawing.denoise, process, before, after, length).log_softmax(0)
        many = Discrete(likely.expand(len(self.rows), -1)).sample(drawing.noise)
        place = torch.arange(length, device=drawing.device)
        further = torch.where(place < len(before), place, place - many[:, None])  # where it is without the gap
        known = (place < len(before)) | ((further >= len(before)) & (further < len(before) + len(after)))
        both = torch.cat([before, after, before.new_zeros(1)])
        return Given(both[torch.where(known, further, -1)], known).heeded(drawing)

    def put_back(self, x: Tensor) -> Tensor:
        """Samples as they are: what is known was never masked."""
        return x

    def evaluations(self, count: int) -> int:
        """One for each token after the gap, besides."""
        return count + len(self.after)


def lengths(denoise: Conditional, process: Categorical, before: Tensor, after: Tensor, length: int) -> Tensor:
    """log p(after, n tokens further | before) of texts of ``length`` tokens, for each n that fits, from 0: (n,)."""
    fit = length - len(before) - len(after) + 1
    x = torch.full((fit, length), process.classes, device=before.device)
    x[:, : len(before)] = before
    rows = torch.arange(fit, device=before.device)
    total = torch.zeros(fit, dtype=torch.float64, device=before.device)
    for k, token in enumerate(after):
        masked = 1 - (len(before) + k) / length
        said = denoise(x, process.time(masked) if masked < 1 else 1.0).double().log_softmax(-1)
        total += said[rows, len(before) + rows + k, token]
        x[rows, len(before) + rows + k] = token
    return total
