"""The variational bound on -log p(x_0), in nats per entry, estimated at one random step for each sample.

    -log p(x_0) <= KL(q(x_1|x_0) | prior) + sum_i E KL(q(x_s|x_t,x_0) | p(x_s|x_t)) - E log p(x_0|x_t_1),     t = i/T

with p(x_s|x_t) the posterior at the denoiser's belief (Ho et al. 2020, eq. 5). The first and the last term are in
closed form. The sum is estimated by one step, divided by its probability: unbiased for any distribution of discrete
times. `undiffuse.theory.likelihood` evaluates the same bound over all steps, for every process; this file is for
training, with one time for each sample.

The KL of a step, entry by entry, is  v l + 1/2 (1 + (SNR_s - SNR_t)(x_0 - x_0_hat)^2) e^(-2 v l) - 1/2.  v in [0, 1]
places the log-variance between its bounds (`Belief`), and l is the logarithm of `Affine.widening`: log(sigma_t/sigma_s)
if variance is preserved and data has unit variance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import expand, moved
from undiffuse.core.modules import modules
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.loss.denoising import cast, mean, prediction_error
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import TimeDistribution, Uniform, log_snr_decay
from undiffuse.loss.weight import Simple, error_of_x0
from undiffuse.process.affine import Affine
from undiffuse.process.learned import LearnedSchedule


@dataclass(frozen=True)
class VariationalBound(Loss[Denoiser]):
    """The whole bound on T steps; ``time`` sets T. It trains a learned schedule too, end points and interior.

    Improved DDPM needs the distribution `Importance(bins=T, discrete=True)` for it.
    """

    time: TimeDistribution = field(default_factory=lambda: Uniform(steps=1000))

    def __post_init__(self) -> None:
        _steps(self.time)

    def check(self, denoiser: Denoiser) -> None:
        """Raises UserError for noise that is not Gaussian."""
        denoiser.process.require_gaussian("a variational bound")

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Unbiased estimates of the bound, (batch,) nats per entry. `UserError` for noise that is not Gaussian."""
        process, steps = denoiser.process, _steps(self.time)
        t = self.time.sample(len(x_0), noise, process.schedule)
        error, v = prediction_error(denoiser, x_0, t, noise, conditions)
        step = mean(step_kl(denoiser, error, v, t, steps))
        sampled = step * cast(steps / self.time.density(t, process.schedule), step)
        if denoiser.training:
            self.time.update(t, sampled, process.schedule)
        return sampled + ends(process, x_0, 1 / steps)


@dataclass(frozen=True)
class Hybrid(Loss[Denoiser]):
    """Improved DDPM's L_simple + ``scale`` L_vlb, which trains a variance (Nichol and Dhariwal 2021, eq. 16).

    L_simple is on eps. L_vlb is in bits per entry; no gradient passes from it to the mean. The bound's first and last
    terms, which do not depend on the network, are left out.
    """

    time: TimeDistribution = field(default_factory=lambda: Uniform(steps=1000))
    scale: float = 0.001

    def __post_init__(self) -> None:
        _steps(self.time)

    def check(self, denoiser: Denoiser) -> None:
        """Raises UserError if the network learns no variance, or the noise is not Gaussian."""
        if not denoiser.learned_variance:
            raise UserError("the hybrid loss trains a variance: add --learned-variance true")
        denoiser.process.require_gaussian("a variational bound")

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,). Raises UserError as `check` does."""
        self.check(denoiser)
        schedule, steps = denoiser.process.schedule, _steps(self.time)
        t = self.time.sample(len(x_0), noise, schedule)
        error, v = prediction_error(denoiser, x_0, t, noise, conditions)
        simple = cast(Simple()(denoiser.prediction, schedule, t), error) * mean(error**2)
        bound = mean(step_kl(denoiser, error.detach(), v, t, steps)) * (steps / math.log(2))
        losses = (simple + self.scale * bound) * cast(self.time.importance(t, schedule), error)
        if denoiser.training:
            self.time.update(t, losses, schedule)
        return losses


@dataclass(frozen=True)
class ContinuousBound(Loss[Denoiser]):
    """The bound for infinitely many steps: 1/2 E[-log_snr'(t) |z - z_hat|^2] and the ends (Kingma et al. 2021, eq. 17).

    It depends on the schedule through its end points only: t = ``time.start``, where the data is decoded, and t = 1.
    A `Learned` schedule's end points follow the bound's gradient. Its shape has none, in expectation: it is a law of
    log-SNR, and follows the gradient of the estimates' *squares*, so that it learns where little variance is lost
    (appendix I.2).
    """

    time: Uniform = field(default_factory=lambda: Uniform(start=1e-3, draws=LowDiscrepancy()))

    def __post_init__(self) -> None:
        if self.time.steps is not None or not self.time.start > 0:
            raise UserError(f"the continuous bound needs continuous times with a start above 0, not {self.time}")

    def check(self, denoiser: Denoiser) -> None:
        """Raises UserError where a variance is learned, and for noise that is not Gaussian."""
        denoiser.require_mean_alone("continuous-bound")
        denoiser.process.require_gaussian("a variational bound")

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Unbiased estimates of the bound, (batch,) nats per entry. `UserError` for noise that is not Gaussian."""
        schedule = denoiser.process.schedule
        t = self.time.sample(len(x_0), noise, schedule)
        error, _ = prediction_error(denoiser, x_0, t, noise, conditions)
        lost = log_snr_decay(schedule, t) * schedule.at(t).log_snr.exp()  # -d SNR/dt
        weight = 0.5 * lost * error_of_x0(denoiser.prediction, schedule, t) ** 2
        sampled = mean(error**2) * cast(weight / self.time.density(t, schedule), error)
        bound = sampled + ends(denoiser.process, x_0, self.time.start)
        learned = [part for part in modules(schedule) if isinstance(part, LearnedSchedule)]
        return bound + less_spread(sampled, learned[0].interior()) if learned and sampled.requires_grad else bound


def less_spread(losses: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """A term of value 0. Added to ``losses``, it makes their mean move ``weights`` as the mean of losses^2 would.

    d mean(L^2) - d mean(L) = mean((2 L - 1) dL), computed here in a backward pass of its own.
    """
    share = (2 * losses.detach() - 1) / len(losses)
    gradients = torch.autograd.grad(losses, weights, share, retain_graph=True)
    zeros = [((weight - weight.detach()) * found).sum() for weight, found in zip(weights, gradients, strict=True)]
    return moved(torch.stack(zeros).sum(), losses.device, losses.dtype)


def step_kl(denoiser: Denoiser, error: Tensor, v: Tensor | None, t: Tensor, steps: int) -> Tensor:
    """KL(q(x_s|x_t,x_0) | p(x_s|x_t)), s = t - 1/steps, in nats, entry by entry (batch, *shape); 0 if s is the data.

    ``error`` is the prediction's (`prediction_error`); v None is 0, the variance beta-tilde.
    """
    schedule = denoiser.process.schedule
    last = t < 1.5 / steps
    s = torch.where(last, t, t - 1 / steps)
    now, then = schedule.at(t), schedule.at(s)
    lost = then.log_snr.exp() * -torch.expm1(now.log_snr - then.log_snr)  # SNR_s - SNR_t
    gain = expand(lost * error_of_x0(denoiser.prediction, schedule, t) ** 2, error)
    if v is None:
        return 0.5 * gain * error**2
    spread = v * expand(denoiser.process.widening(t, s).log(), error)
    return spread + 0.5 * torch.expm1(-2 * spread) + 0.5 * gain * error**2 * (-2 * spread).exp()


def ends(process: Affine, x_0: Tensor, first: float) -> Tensor:
    """KL(q(x_1|x_0) | prior) - E log p(x_0|x_first), in nats per entry, (batch,); gradients reach the schedule.

    The decoder is `Affine.decoder`, N(x_t/alpha, (sigma/alpha)^2): its entropy. It wants ever less noise if the data is
    continuous, so a learned largest log-SNR rises as long as the network can still denoise.
    """
    process.require_gaussian("a variational bound")
    alpha, sigma, log_snr = process.schedule.at(torch.tensor([1.0, first], dtype=torch.float64))
    kept = (alpha[0] * process.sigma_data) ** 2
    kept = kept / (kept + sigma[0] ** 2)  # of the prior's variance, the data's share
    spread = mean(x_0**2) / process.sigma_data**2 - 1
    prior = 0.5 * (cast(kept, x_0) * spread - cast(torch.log1p(-kept), x_0))
    return prior + cast(0.5 * (1 + math.log(2 * math.pi)) - 0.5 * log_snr[1], x_0)


def _steps(time: TimeDistribution) -> int:
    if time.steps is None:
        raise UserError(f"a bound on T steps needs discrete times, such as Uniform(steps=1000), not {time}")
    return time.steps
