"""Losses of flow maps: what they need to begin, and who teaches them.

    loss = ConsistencyDistillation().begin(student, teacher, steps)
    loss(student, x_0, noise, conditions)  ->  (batch,)

A method is a plain description in a recipe. `begin` makes of it what trains: a module that holds whatever it learns or
counts on the way (which halving, which discretisation, a fake score), so that all of it is in the saved state, and a
training that is resumed goes on bit for bit. The teacher is held beside the module, not in it: it never changes, and
lies in the folder of the run as long as the training lasts.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, combine, scale
from undiffuse.core.modules import HostModule
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.denoiser.guidance import Conditional
from undiffuse.denoiser.prediction import EDMPrediction, Prediction, V, Velocity
from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule


class Teacher:
    """E[x_0 | x_t, conditions] of a trained model, at the noise levels of any other schedule.

    Args:
        denoise: denoise(x_t, t, conditions), guided or not.
        process: Its process.
        denoiser: The model itself, whose weights a student may begin with.
    """

    def __init__(self, denoise: Conditional, process: Affine, denoiser: nn.Module) -> None:
        self.denoise, self.process, self.denoiser = denoise, process, denoiser

    @torch.no_grad()
    def __call__(self, schedule: Schedule, x_t: Tensor, t: Tensor, conditions: Conditions | None = None) -> Tensor:
        """E[x_0 | x_t] where x_t (batch, *shape) is of ``schedule`` at t (batch,): asked at the same log-SNR."""
        own = self.process.schedule
        if schedule == own:
            return self.denoise(x_t, t, conditions)
        here = schedule.at(t)
        then = own.time(here.log_snr)
        return self.denoise(scale(own.at(then).sigma / here.sigma, x_t), then, conditions)


class Count(HostModule):
    """How many steps of a training are done: kept in its state, and read without waiting for a device."""

    done: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def forward(self, training: bool) -> int:
        """How many before this one, which counts while ``training``."""
        before = int(self.done)
        self.done += training
        return before


class Begun(Protocol):
    """A loss in training."""

    def __call__(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """(batch,), of x_0 (batch, *shape)."""
        ...


class FewStepLoss(ABC):
    """The description of a method that trains a `FlowMap`.

    Attributes:
        predictions: What a student may predict; where its teacher predicts anything else, it predicts v.
        told_where: Whether the network is told where a jump ends.
        taught: Whether it needs a teacher.
        samplers: By name, those that it trains for; the first is the default.
        asked: How often a step evaluates the teacher and the student, beside the student's one with a gradient.
        length: How long a student is trained, beside its teacher, unless told otherwise.
        staged: Whether what it asks for changes over the training, by the number of its steps.
    """

    predictions: ClassVar[tuple[type[Prediction], ...]] = (V, Velocity, EDMPrediction)
    told_where: ClassVar[bool] = False
    taught: ClassVar[bool] = False
    samplers: ClassVar[tuple[str, ...]] = ("consistency",)
    asked: ClassVar[tuple[float, float]] = (0, 0)
    length: ClassVar[float] = 1.0
    staged: ClassVar[bool] = True

    @property
    def most(self) -> int | None:
        """The most evaluations that a sample may take; None is any number."""
        return None

    def for_evaluations(self, count: int) -> Self:
        """The method that trains for samples of so many evaluations: most train for any number."""
        return self

    def begin(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """What trains for so many ``steps``; with a teacher, the student begins with its weights.

        Raises UserError where a method that needs a teacher has none.
        """
        if teacher is not None:
            student.adopt(teacher.denoiser)
        return self.training(student, self.require(teacher) if self.taught else teacher, steps)

    @abstractmethod
    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """The method in training: loss(student, x_0, noise, conditions) -> (batch,)."""

    def check_batch(self, count: int) -> None:
        """Raises UserError for a batch that the method cannot take; most take any."""
        return None

    def require(self, teacher: Teacher | None) -> Teacher:
        """The teacher. Raises UserError where there is none."""
        if teacher is None:
            raise UserError(f"{type(self).__name__} needs a teacher: undiffuse distill RUN --method ... --out FOLDER")
        return teacher


def velocity(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: Number) -> Tensor:
    """The flow's velocity in the angle phi = arctan(sigma/alpha), of x_t scaled to alpha^2 + sigma^2 = 1.

    v = (alpha z - sigma x_0)/r = alpha/(sigma r) x_t - (r/sigma) x_0, r^2 = alpha^2 + sigma^2: what v-prediction is
    asked for, and TrigFlow's network (Lu and Song 2025, eq. 4).
    """
    alpha, sigma, _ = schedule.at(t)
    r = (alpha**2 + sigma**2) ** 0.5
    return combine(alpha / (sigma * r), x_t, -r / sigma, x_0)
