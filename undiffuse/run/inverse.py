"""Pictures of which something is seen, by a run that was not trained for it: fewer pixels, grey, holes.

    seen = Seen(low, Averaged(4))                       run.sample(8, given=seen)
    inpainted = given._replace(by=WAYS["repaint"])      run.sample(8, given=inpainted)

What is seen is a linear function of the data and standardising is one too, so what diffuses is seen by a linear
operator, and `undiffuse.denoiser.reconstruction` guides it.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from undiffuse.codec.codec import Entries
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.core.operator import Masked, OfScaled, Operator
from undiffuse.denoiser.reconstruction import Covariance, Even, Isotropic, Matched, Reconstruction
from undiffuse.process import Affine
from undiffuse.run.given import Completion, Drawing, Given, Replacement
from undiffuse.run.run import Run
from undiffuse.step.pull import Pulled
from undiffuse.step.repaint import Repainted

DEVIATION = 0.01  # of what is seen, in standard deviations of the data: about a grey level
HIGHEST = 10.0  # the noise level from which on a network is guided


class Way(Completion, Protocol):
    """How what is seen guides."""

    def seeing(self, drawing: Drawing, operator: Operator, y: Tensor) -> Drawing:
        """Drawing that agrees with y, what the operator sees of data as it diffuses."""
        ...


class _Mask:
    """Known entries are what a mask sees."""

    def completing(self: Way, drawing: Drawing, entries: Entries) -> Drawing:
        """By what is seen."""
        mask = Masked(entries.known)
        return self.seeing(drawing, mask, mask(entries.x_0))

    def evaluations(self, count: int) -> int:
        """No more, but a derivative for each."""
        return count


@dataclass(frozen=True)
class GuidedBy(_Mask):
    """By Bayes' rule, with what is assumed of x_0 given x_t."""

    covariance: Covariance

    def seeing(self, drawing: Drawing, operator: Operator, y: Tensor) -> Drawing:
        """By a guide."""
        process = drawing.process
        assert isinstance(process, Affine)
        told = (operator, y, DEVIATION, self.covariance, 1, HIGHEST)
        return drawing._replace(denoise=Reconstruction(drawing.denoise, process, *told))


@dataclass(frozen=True)
class PulledBy(_Mask):
    """Diffusion posterior sampling."""

    zeta: float = 1.0

    def seeing(self, drawing: Drawing, operator: Operator, y: Tensor) -> Drawing:
        """By a step."""
        return drawing._replace(step=Pulled(drawing.step, operator, y, self.zeta))


@dataclass(frozen=True)
class Repainting:
    """RePaint: every step several times."""

    rounds: int = 10

    def completing(self, drawing: Drawing, entries: Entries) -> Drawing:
        """By a step."""
        process = drawing.process
        assert isinstance(process, Affine)
        return drawing._replace(step=Repainted(drawing.step, process, entries.x_0, entries.known, self.rounds))

    def evaluations(self, count: int) -> int:
        """Each ``rounds`` times, but for the last."""
        return self.rounds * (count - 1) + 1


SEEN: dict[str, Way] = {
    "pigdm": GuidedBy(Isotropic()),
    "reconstruction": GuidedBy(Even()),
    "moment-matching": GuidedBy(Matched()),
    "dps": PulledBy(),
}
WAYS: dict[str, Completion] = {"replacement": Replacement(), "repaint": Repainting(), **SEEN}
USUAL = "pigdm"


@dataclass(frozen=True)
class Seen:
    """What is seen of each sample; sample i is told row i modulo their count.

    Attributes:
        x: What the operator sees of data as it is stored, (rows, ...).
        operator: A.
        by: How it guides.
    """

    x: Tensor
    operator: Operator
    by: Way = SEEN[USUAL]

    def take(self, rows: range) -> "Seen":
        """Their rows."""
        return replace(self, x=self.x[torch.arange(rows.start, rows.stop) % len(self.x)])

    def heeded(self, drawing: Drawing) -> Drawing:
        """x = mean + std z, so that y = A x sees (y - A mean)/c = A (std/c) z of z, with c the mean of std."""
        mean, std = drawing.codec.affine()
        c = std.mean()
        y = (self.x.to(drawing.device, mean.dtype) - self.operator(mean.expand(1, *drawing.codec.shape))) / c
        return self.by.seeing(drawing, OfScaled(self.operator, std / c), y)

    def put_back(self, x: Tensor) -> Tensor:
        """They themselves: what is seen may be noisy."""
        return x

    def evaluations(self, count: int) -> int:
        """Those of the way."""
        return self.by.evaluations(count)


def seen(run: Run, x: Tensor, operator: Operator, by: str = USUAL) -> Seen:
    """What is seen of samples, and how it guides, by name. Raises UserError for a run that cannot be guided so."""
    with usage():
        if by in WAYS and by not in SEEN:
            raise UserError(f"{by} completes what is known of a picture; give --known, or --by {USUAL}")
        if by not in SEEN:
            raise UserError(nearest(by, SEEN, "way to guide"))
    _require_linear(run, by)
    return Seen(x, operator, SEEN[by])


def completed(run: Run, given: Given, by: str) -> Given:
    """Known entries, completed in the way of this name. Raises UserError for a run that cannot be guided so."""
    with usage():
        if by not in WAYS:
            raise UserError(nearest(by, WAYS, "way to guide"))
    if by != "replacement":
        _require_linear(run, by)
    return given._replace(by=WAYS[by])


def _require_linear(run: Run, by: str) -> None:
    """Raises UserError unless numbers diffuse, under Gaussian noise, each in its place, in many steps."""
    process = run.denoiser.process
    if run.is_few_step:
        raise UserError(f"{run.folder}: {by} guides the many steps of its teacher, not a model of few steps")
    if run.is_bridge or not isinstance(process, Affine):
        raise UserError(f"{run.folder}: {by} guides numbers that are made of noise, which this run is not for")
    process.require_gaussian(by)
    run.codec.affine()
