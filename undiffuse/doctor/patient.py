"""What the checks of a run share: held-out and training rows, errors by noise level, samples, computed once.

Samples are drawn three times from the same noise and the same conditions, so that a fault shows where it arises:

    own       as the run samples
    plain     the same without guidance:               own - plain is what guidance does
    fine      without guidance, on a fine grid:        plain - fine is what the solver errs; fine - data is the network
"""

import shlex
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.doctor.finding import DoesNotApply
from undiffuse.doctor.specimen import Specimen
from undiffuse.evaluate.by_level import error_by_level
from undiffuse.process.affine import Affine
from undiffuse.run.plan import Plan
from undiffuse.run.run import Run
from undiffuse.sampling.loop import trajectory
from undiffuse.sampling.sampling import Guidance, Sampling

LEVELS, RANGE = 10, 9.0  # log-SNRs from -RANGE to RANGE at which errors are measured
FINE, FINER = "dpm++2m", 64  # the fine solution: its sampler and steps, at least


class Sampled(NamedTuple):
    """Samples, as they diffuse."""

    z: Tensor  # (count, *latent_shape)
    plan: Plan
    is_random: bool  # whether noise was added on the way


@dataclass(frozen=True)
class Patient:
    """A run to be examined, on ``count`` rows and as many samples."""

    run: Run
    count: int = 256
    seed: int = 0

    @property
    def word(self) -> str:
        """The run's folder, as it is typed."""
        return shlex.quote(str(self.run.folder))

    def anew(self, *options: str) -> str:
        """The command that trains the run's recipe anew, with other options."""
        return " ".join([f"undiffuse train {self.word}", *options, f"--out {shlex.quote(f'{self.run.folder}-2')}"])

    def longer(self) -> str:
        """The command that trains the run twice as long."""
        return f"undiffuse resume {self.word} --steps {2 * self.run.recipe.training.steps}"

    # ------------------------------------------------------------------------------------------------- data

    @cached_property
    def rows(self) -> Specimen:
        """What the run was trained on."""
        return Specimen(self._opened("train"), str(self.run.folder), self.seed)

    @cached_property
    def train(self) -> Dataset:
        """Some training rows."""
        return self._some(self.rows.data)

    @cached_property
    def held_out(self) -> Dataset:
        """Some rows that were held out."""
        return self._some(self._opened("test"))

    def _opened(self, split: str) -> Dataset:
        try:
            return self.run.dataset(split)
        except UserError as error:
            raise DoesNotApply(str(error)) from None

    def _some(self, data: Dataset) -> Dataset:
        return data.take(torch.randperm(len(data), generator=torch.Generator().manual_seed(self.seed))[: self.count])

    def encoded(self, data: Dataset) -> Tensor:
        """Rows as they diffuse, (rows, *latent_shape)."""
        self.require_numbers()
        return torch.cat(
            [
                self.run.codec.encode(x.to(self.run.device), SeededNoise(self.seed, first * self.run.batch))
                for first, x in enumerate(data.x.split(self.run.batch))
            ]
        )

    def shown(self, x: Tensor) -> Tensor:
        """Data as it is stored, in standard deviations of the training data, (rows, numbers)."""
        return self.rows.standard.encode(x.cpu()).flatten(1)

    # --------------------------------------------------------------------------------------------- denoising

    def require_numbers(self) -> None:
        """Raises DoesNotApply where what diffuses is not numbers alone."""
        if not self.run.recipe.samples:
            raise DoesNotApply("this model draws no samples")
        if not isinstance(self.run.denoiser.process, Affine) and not self.run.is_bridge:
            raise DoesNotApply("a check of numbers that diffuse, and tokens do here")

    @property
    def process(self) -> Affine:
        """x_t = alpha x_0 + sigma z with normal z. Raises DoesNotApply where it is not, or the network jumps."""
        self.require_numbers()
        process = self.run.denoiser.process
        if not isinstance(process, Affine) or not process.z.is_gaussian or self.run.is_few_step:
            raise DoesNotApply("a check of denoisers of normal noise")
        return process

    def denoise(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """E[x_0 | x_t], as in sampling."""
        found: Tensor = self.run.in_half(self.run.denoiser.__call__)(x_t, t, conditions)
        return found

    @cached_property
    def log_snrs(self) -> list[float]:
        """The noise levels at which errors are measured: those that the schedule reaches."""
        end = max(-RANGE, float(self.process.schedule.at(1.0).log_snr))
        return torch.linspace(end, RANGE, LEVELS).tolist()

    def errors(self, data: Dataset, denoise: Any = None, log_snrs: list[float] | None = None) -> Tensor:
        """The error of rows by noise level, (levels, rows), by the run's denoiser or another."""
        return error_by_level(
            denoise or self.denoise,
            self.process,
            self.encoded(data),
            log_snrs or self.log_snrs,
            self.conditions_of(data),
            self.seed,
        )

    @cached_property
    def held_out_errors(self) -> Tensor:
        """Of held-out rows, (levels, rows)."""
        return self.errors(self.held_out)

    @cached_property
    def train_errors(self) -> Tensor:
        """Of training rows, (levels, rows)."""
        return self.errors(self.train)

    def conditions_of(self, data: Dataset) -> Conditions | None:
        """Those of some rows, as the model takes them."""
        return data.conditions.to(self.run.device) if data.conditions is not None and self.run.specifications else None

    # ---------------------------------------------------------------------------------------------- sampling

    @cached_property
    def asked(self) -> Dataset:
        """Held-out rows, whose conditions samples are asked for: in turn, where there are fewer than samples."""
        return self.held_out.take(torch.arange(self.count) % len(self.held_out))

    @cached_property
    def own(self) -> Sampled:
        """As the run samples."""
        return self._drawn(replace(self.run.sampling, seed=self.seed))

    @cached_property
    def plain(self) -> Sampled:
        """Without guidance."""
        guided = self.own.plan.weight != 1
        return self._drawn(replace(self.run.sampling, seed=self.seed, guidance=Guidance(1.0))) if guided else self.own

    @cached_property
    def fine(self) -> Sampled:
        """Without guidance, on a fine grid; as plain where there is no finer solution."""
        if self.run.is_few_step or FINE not in self.run.samplers:
            return self.plain
        return self._drawn(Sampling(FINE, max(FINER, 2 * self.run.steps), None, Guidance(1.0), self.seed))

    @cached_property
    def samples(self) -> Tensor:
        """The fine samples as data, (count, *shape). Raises DoesNotApply where they are not finite."""
        if not self.fine.z.isfinite().all():
            raise DoesNotApply("its samples are not finite")
        return self.decoded(self.fine)

    @torch.no_grad()
    def decoded(self, drawn: Sampled) -> Tensor:
        """Samples as data is stored, on the CPU."""
        return torch.cat([self.run.codec.decode(part).cpu() for part in drawn.z.split(self.run.batch)])

    def _drawn(self, how: Sampling) -> Sampled:
        self.require_numbers()
        plan, conditions = self.run.plan(how), self.conditions_of(self.asked)
        parts, draws = [], 0
        for first in range(0, self.count, self.run.batch):
            rows = slice(first, min(self.count, first + self.run.batch))
            given = None if conditions is None else conditions[rows]
            noise, process = SeededNoise(self.seed, first), self.run.denoiser.process
            blank = process.blank(rows.stop - first, self.run.codec.latent_shape, self.run.device)
            z = process.start(blank, noise, plan.times[0])
            begun = noise.draws
            for state in trajectory(plan.step, partial(plan.denoise, conditions=given), z, plan.times, noise):
                z = state.x
            draws += noise.draws - begun
            parts.append(z)
        return Sampled(torch.cat(parts), plan, draws > 0)
