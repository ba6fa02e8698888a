"""Poisson flow's own loss: the direction of the field that the whole batch makes (Xu et al. 2022, PFGM, eq. 5).

    L = |v(x, z) - sqrt(N) E(x, z)/(|E(x, z)| + gamma)|^2

E is the empirical field of the batch's rows as charges (`undiffuse.exact.poisson`), in the data's space with one more
dimension z, at points around the rows: with (e_x, e_z) ~ N(0, sigma^2 I) and m ~ U[0, M],

    x = x_i + |e_x| (1 + tau)^m u,    z = |e_z| (1 + tau)^m,     u uniform on the sphere

The field at (x, z) has the direction of (x - x_0, z), x_0 the mean of the charges as they weigh there, which is what
every denoiser says; so v is sqrt(N) (x - x_0, z)/(|(x - x_0, z)| + gamma), and needs no further output. The process is
PFGM++'s with D = 1, sigma(t) = z and alpha = 1: its noise at t = 1 is PFGM's prior on the plane z = z_max, and its
probability flow is PFGM's ODE in z.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import expand
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.exact.poisson import Field, poisson_field
from undiffuse.process import PoissonNoise
from undiffuse.process.schedule import VarianceExploding


@dataclass(frozen=True)
class PoissonField:
    """The squared error of the field's direction, the mean over its N + 1 entries; the constants are PFGM's.

    The field of a batch is nearer to that of the data the larger the batch: theirs was of 4,096 rows.
    """

    staged: ClassVar[bool] = False  # as `undiffuse.loss.loss` has it

    sigma: float = 0.01
    tau: float = 0.03
    M: int = 291
    gamma: float = 5.0

    def __post_init__(self) -> None:
        if min(self.sigma, self.tau, self.M, self.gamma) <= 0:
            raise UserError(f"a Poisson field needs sigma, tau, M and gamma above 0, not {self}")

    def check(self, denoiser: Denoiser) -> None:
        """Raises UserError for a process that is not Poisson flow, for conditions, or for a learned variance."""
        denoiser.require_mean_alone("poisson-field")
        process = denoiser.process
        if (
            not isinstance(process.z, PoissonNoise)
            or process.z.D != 1
            or not isinstance(process.schedule, VarianceExploding)
        ):
            needs = "--z poisson-noise --z.D 1 --schedule log-linear"
            raise UserError(f"the loss of Poisson flow is of one more dimension, and of alpha = 1: {needs}")
        if getattr(denoiser.encoder, "names", ()):
            raise UserError("the field of a batch has no conditions, and this data has; train PFGM++: --loss denoising")

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,) of x_0 (batch, *shape)."""
        x, z = self.points(x_0, noise)
        schedule = denoiser.process.schedule
        t = schedule.time(-2 * z.double().cpu().log()).clamp(max=1)
        wanted = self.direction(poisson_field(x, z, x_0))
        return (self.direction(Field(x - denoiser(x, t, conditions), z)) - wanted).square().mean(1)

    def points(self, x_0: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Points (batch, *shape) around the rows, at heights (batch,)."""
        grown = self.sigma * (1 + self.tau) ** (self.M * noise.uniform(x_0.flatten(1)[:, 0]))
        e_z = noise.normal(x_0.flatten(1)[:, 0])
        return x_0 + expand(grown, x_0) * noise.normal(x_0), grown * e_z.abs()

    def direction(self, field: Field) -> Tensor:
        """sqrt(N) E/(|E| + gamma), (batch, N + 1)."""
        whole = torch.cat([field.x.flatten(1), field.z[:, None]], 1)
        return whole * ((whole.shape[1] - 1) ** 0.5 / (whole.norm(dim=1, keepdim=True) + self.gamma))
