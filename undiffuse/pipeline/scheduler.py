"""Diffusers' scheduler_config.json as a process: a schedule, a prediction, and the numbers of the timesteps.

A scheduler of diffusers is a table of betas and a way to step. The way to step is anybody's choice: every sampler here
takes any table. What is read is the table (or the flow and its shift), what the network predicts, and the number by
which it is told the time. Entry i of T, our t = i/T, is timestep i - 1; between entries, and where a step leads below
the first, the number is interpolated, and it is at least 0. ``steps_offset`` and ``timestep_spacing`` say which entries
diffusers would visit; here that is the grid's choice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from undiffuse.core.errors import UserError, caution, nearest
from undiffuse.core.linear import Number
from undiffuse.denoiser.prediction import X0, Difference, Eps, V
from undiffuse.process import Affine, Flow, Linear, ScaledLinear, Schedule
from undiffuse.process.rescale import Shifted
from undiffuse.process.table import AlphaBars, CosineTable, DiscreteSchedule, SigmoidBetas, ZeroTerminalTable
from undiffuse.sampling.sampling import Guidance, Sampling

Settings = dict[str, Any]
GRID = "trailing"  # of entries that the network was trained on, from the noise to the data
STEPS = 50


class Numbering(Protocol):
    """By which number a network is told the time t, a number or (batch,)."""

    def __call__(self, t: Number) -> Number: ...  # noqa: D102


@dataclass(frozen=True)
class OfTable:
    """Entry i of T is number i - 1; at least 0, the cleanest that the network has seen."""

    steps: int

    def __call__(self, t: Number) -> Number:
        """T t - 1."""
        number = t * self.steps - 1
        return number.clamp(min=0) if isinstance(number, Tensor) else max(number, 0.0)


@dataclass(frozen=True)
class OfFlow:
    """The share of noise, sigma, times T."""

    schedule: Schedule
    steps: int

    def __call__(self, t: Number) -> Number:
        """T sigma(t)."""
        return self.schedule.at(t).sigma * self.steps


@dataclass(frozen=True)
class Scheduler:
    """What a scheduler's settings say."""

    process: Affine
    prediction: Eps | X0 | V | Difference
    numbering: Numbering
    sampling: Sampling  # how diffusers would sample, as near as our samplers come


def scheduler_of(settings: Settings, places: int) -> Scheduler:
    """What a scheduler_config.json says, for pictures of so many ``places`` of a transformer.

    Raises UserError for an unknown class, and for settings that no process here has.
    """
    kind = str(settings.get("_class_name"))
    if kind not in SCHEDULERS:
        raise UserError(nearest(kind, SCHEDULERS, "scheduler of diffusers"))
    read, sampler = SCHEDULERS[kind]
    return read(settings, sampler if isinstance(sampler, str) else sampler(settings), places)


def _table(settings: Settings, sampler: str, places: int) -> Scheduler:
    if settings.get("timestep_type", "discrete") != "discrete":
        raise UserError(
            f"timestep_type {settings['timestep_type']}: only networks told a number of the table are known"
        )
    schedule = _betas(settings)
    said = settings.get("prediction_type", "epsilon")
    if said not in PREDICTIONS:
        raise UserError(nearest(said, PREDICTIONS, "prediction_type"))
    if settings.get("rescale_betas_zero_snr"):
        schedule = ZeroTerminalTable(schedule)
        if said == "epsilon":
            raise UserError(
                "rescale_betas_zero_snr with prediction_type epsilon: at the end nothing is left of the data, "
                "and the noise does not tell it; one of the two is wrong in scheduler_config.json"
            )
    return Scheduler(
        Affine(schedule),
        PREDICTIONS[said](),
        OfTable(schedule.steps),
        Sampling(sampler, STEPS, GRID, Guidance(threshold=_threshold(settings))),
    )


def _betas(settings: Settings) -> DiscreteSchedule:
    """The table of betas."""
    if (given := settings.get("trained_betas")) is not None:
        alphas = 1 - torch.tensor(given, dtype=torch.float64)
        return AlphaBars(tuple(alphas.log().cumsum(0).exp().tolist()))
    count = int(settings.get("num_train_timesteps", 1000))
    name = settings.get("beta_schedule", "linear")
    if name not in BETAS:
        raise UserError(nearest(name, BETAS, "beta_schedule"))
    return BETAS[name](float(settings.get("beta_start", 1e-4)), float(settings.get("beta_end", 0.02)), count)


def _flow(settings: Settings, sampler: str, places: int) -> Scheduler:
    unknown = [name for name in ("invert_sigmas", "shift_terminal") if settings.get(name)]
    if unknown:
        raise UserError(f"{unknown[0]} of a flow is not known here")
    shift = _dynamic(settings, places) if settings.get("use_dynamic_shifting") else float(settings.get("shift", 1.0))
    schedule: Schedule = Flow() if shift == 1 else Shifted(Flow(), shift)
    count = int(settings.get("num_train_timesteps", 1000))
    return Scheduler(Affine(schedule), Difference(), OfFlow(schedule, count), Sampling(sampler, STEPS, GRID))


def _dynamic(settings: Settings, places: int) -> float:
    """The shift e^mu of a picture, mu linear in its number of places (Esser et al. 2024, section 5.3.2)."""
    if settings.get("time_shift_type", "exponential") != "exponential":
        raise UserError("a dynamic shift that is not exponential is not known here")
    few, many = settings.get("base_image_seq_len", 256), settings.get("max_image_seq_len", 4096)
    low, high = settings.get("base_shift", 0.5), settings.get("max_shift", 1.15)
    return math.exp(low + (high - low) * (places - few) / (many - few))


def _threshold(settings: Settings) -> Any:
    """Whether, and how, E[x_0] is kept within black and white."""
    if settings.get("thresholding"):
        return "dynamic"
    if not settings.get("clip_sample", settings.get("_class_name") in CLIPPING):
        return None
    if (reach := settings.get("clip_sample_range", 1.0)) != 1:
        caution(f"clip_sample_range {reach}: here pictures are kept within black and white, which is 1")
    return "static"


def _of_variance(settings: Settings) -> str:
    """DDPM's sampler, by the variance of its steps."""
    said = settings.get("variance_type", "fixed_small")
    if said not in VARIANCES:
        raise UserError(nearest(said, VARIANCES, "variance_type"))
    return VARIANCES[said]


def _of_order(settings: Settings) -> str:
    """DPM-Solver++'s multistep sampler, by its order."""
    return "dpm++3m" if settings.get("solver_order") == 3 else "dpm++2m"


BETAS: dict[str, Callable[[float, float, int], DiscreteSchedule]] = {
    "linear": Linear,
    "scaled_linear": ScaledLinear,
    "sigmoid": SigmoidBetas,
    "squaredcos_cap_v2": lambda start, end, count: CosineTable(count=count),
}
PREDICTIONS: dict[str, Callable[[], Eps | X0 | V]] = {"epsilon": Eps, "sample": X0, "v_prediction": V}
VARIANCES = {
    "fixed_small": "ddpm",
    "fixed_small_log": "ddpm",
    "fixed_large": "ddpm-large",
    "fixed_large_log": "ddpm-large",
    "learned_range": "ddpm-learned",
}
CLIPPING = ("DDPMScheduler", "DDIMScheduler")  # where clip_sample is true unless said otherwise
SCHEDULERS: dict[str, tuple[Callable[[Settings, str, int], Scheduler], str | Callable[[Settings], str]]] = {
    "DDPMScheduler": (_table, _of_variance),
    "DDIMScheduler": (_table, "ddim"),
    "PNDMScheduler": (_table, "dpm++2m"),  # whose order it has, without its warm-up of three further evaluations
    "DPMSolverMultistepScheduler": (_table, _of_order),
    "DPMSolverSinglestepScheduler": (_table, "dpm++2s"),
    "UniPCMultistepScheduler": (_table, "unipc"),
    "DEISMultistepScheduler": (_table, "deis"),
    "LMSDiscreteScheduler": (_table, "adams-bashforth"),
    "EulerDiscreteScheduler": (_table, "ddim"),  # the same step, in sigma
    "EulerAncestralDiscreteScheduler": (_table, "ddpm"),
    "HeunDiscreteScheduler": (_table, "heun"),
    "FlowMatchEulerDiscreteScheduler": (_flow, "ddim"),
    "FlowMatchHeunDiscreteScheduler": (_flow, "heun"),
}
