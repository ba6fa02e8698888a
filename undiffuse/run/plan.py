"""How a run is sampled: by which sampler, at which times, guided how; checked before anything is drawn."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

from undiffuse.condition.low import check_level
from undiffuse.core.errors import UserError, nearest
from undiffuse.denoiser.guidance import Conditional
from undiffuse.run.embed import EMBEDS
from undiffuse.run.guidance import Guided, guided, weight_for
from undiffuse.run.start import FirstState
from undiffuse.run.tuned import TUNED, read_tuned
from undiffuse.sampling.grid import GRIDS
from undiffuse.sampling.samplers import sampler_of
from undiffuse.sampling.sampling import Sampling
from undiffuse.sampling.tuned.tableau import Tabled
from undiffuse.step import Step
from undiffuse.step.in_blocks import InBlocks

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Planned(Guided, Protocol):
    """What planning asks of a run."""

    @property
    def is_of_tokens(self) -> bool: ...  # noqa: D102
    @property
    def most(self) -> int | None: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    def in_half(self, denoise: F) -> F: ...  # noqa: D102


class Plan(NamedTuple):
    """How to sample: with which sampler, at which times, and with which denoiser, before it gets conditions."""

    sampler: str
    step: Step
    times: tuple[float, ...]
    denoise: Conditional
    evaluations: int  # of the network, for a sample
    weight: float  # the guidance scale; 1 is off

    def describe(self) -> str:
        """What sampling costs, in words."""
        guided = f", each guided by {self.weight:g}" if self.weight != 1 else ""
        return f"{self.sampler} with {len(self.times) - 1} steps, {self.evaluations} network evaluations each{guided}"


def plan_of(run: Planned, how: Sampling, start: FirstState) -> Plan:
    """How samples are drawn from a ``start``. Raises UserError if they cannot be."""
    _check_samples(run)
    check_level(run.specifications, how.low_noise)
    process, denoiser = run.denoiser.process, run.denoiser
    chosen = sampler_of(process, how.sampler, denoiser.learned_variance, denoiser.jumps)
    count = how.steps or torch.Size(run.codec.latent_shape).numel()
    if run.most is not None and count > run.most:
        raise UserError(f"this model was trained for at most {run.most} evaluations a sample, not {count}")
    if how.grid == TUNED:
        return _tuned(run, how, count, start)
    grid = _known(GRIDS, how.grid, "grid", TUNED) if how.grid else chosen.grid
    block = denoiser.block if run.is_of_tokens else None
    if block is not None:  # so many for all blocks together
        count = max(1, round(count * block / run.shape[0]))
    times = start.times(process, grid(process.schedule, count))
    of_belief = chosen.learned_variance or chosen.of_belief
    denoise: Conditional = run.in_half(denoiser.belief if of_belief else denoiser.__call__)
    step, evaluations = chosen.make(process), chosen.evaluations(len(times) - 1)
    if block is not None:
        step = InBlocks(step, times, block, run.shape[0])
        times, evaluations = step.times, evaluations * (run.shape[0] // block)
    return Plan(
        how.sampler, step, times, guided(denoise, run, how.guidance), evaluations, weight_for(run, how.guidance)
    )


def _check_samples(run: Planned) -> None:
    if run.recipe.is_classifier:
        raise UserError("this run is a classifier, which samples nothing; guide another run by it: --classifier RUN")
    if not run.recipe.samples:
        raise UserError(f"this run tells which texts and pictures belong together, and samples nothing: {EMBEDS}")


def _tuned(run: Planned, how: Sampling, count: int, start: FirstState) -> Plan:
    """With the run's own sampler, whichever else is named."""
    weight = weight_for(run, how.guidance)
    tableau = read_tuned(run.folder, run.fingerprint).of(run.folder, count, weight)
    if start.times(run.denoiser.process, tableau.grid) != tableau.grid:
        raise UserError("a tuned grid was fitted from noise to data, all of it; choose another --grid")
    denoise = guided(run.in_half(run.denoiser.__call__), run, how.guidance)
    return Plan(TUNED, Tabled(run.denoiser.process, tableau), tableau.grid, denoise, count, weight)


def _known(table: dict[str, T], name: str, what: str, *others: str) -> T:
    if name not in table:
        raise UserError(nearest(name, [*table, *others], what))
    return table[name]
