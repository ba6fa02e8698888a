"""A flow map: from x_t to where the probability flow passes at any earlier time s, in one evaluation.

Every jump along the flow is a DDIM step, aimed at an X that knows where it lands:

    x_s = (sigma_s/sigma_t) x_t + (alpha_s - alpha_t sigma_s/sigma_t) X(x_t, t, s)

    s -> t      X = E[x_0 | x_t], what an ordinary denoiser says
    s = 0       X = x_0, where the flow ends: the consistency function (Song et al. 2023)
    between     on the straight schedule (x_t - X)/t is the mean velocity from t to s (MeanFlow, Geng et al. 2025);
                with variance preserved and y = v, x_s = cos(d) x_t - sin(d) v, d the angle between the two times

So a network for few steps is an ordinary one, with the same predictions and the same inversion, which is also told s.
A consistency model only ever jumps to s = 0 and needs not be told.
"""

import math

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Encoder
from undiffuse.core.linear import Number, combine, scale
from undiffuse.denoiser.gaussian import noise_level
from undiffuse.denoiser.prediction import Prediction, to_x0
from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule

LEAST = -2 * math.log(80)  # log-SNR that a network is given: at sigma = 80 alpha nothing of the data is left


class FlowMap(nn.Module):
    """flow_map(x_t, t, conditions, s) -> X, at which a jump from t to s is aimed; see `landing`.

    Args:
        net: net(x, routes) -> y; x (batch, *shape) of about unit variance.
        process: What destroyed the data.
        prediction: The (a, b) of y = a X + b z.
        encoder: What makes routes of both noise levels and the conditions; without a ``second`` level, s is 0.
        jumps: The samplers that it is trained for, by name.
    """

    learned_variance = False

    def __init__(
        self,
        net: nn.Module,
        process: Affine,
        prediction: Prediction,
        encoder: Encoder,
        jumps: tuple[str, ...] = ("consistency", "jump"),
    ) -> None:
        super().__init__()
        self.encoder, self.jumps = encoder, jumps
        self.net, self.process, self.prediction = net, process, prediction

    @property
    def is_told_where(self) -> bool:
        """Whether the network is given s; otherwise every jump ends at the data."""
        return self.encoder.second is not None

    def forward(self, x_t: Tensor, t: Number, conditions: Conditions | None = None, s: Number | None = None) -> Tensor:
        """X (batch, *shape), for a jump from t to s, each a number or (batch,); without s, to the data."""
        y = self.output(x_t, t, conditions, s)
        return to_x0(self.prediction, self.process.schedule, x_t, y, t)

    def output(self, x_t: Tensor, t: Number, conditions: Conditions | None = None, s: Number | None = None) -> Tensor:
        """The network's own prediction y."""
        schedule, like = self.process.schedule, (x_t.device, x_t.dtype)
        level = noise_level(schedule.at(t).log_snr, *like).clamp(min=LEAST)
        where = noise_level(schedule.at(0.0 if s is None else s).log_snr, *like) if self.is_told_where else None
        return self.net(scale(self.process.input_scale(t), x_t), self.encoder(level, conditions, where))

    def jump(self, x_t: Tensor, t: Number, s: Number, conditions: Conditions | None = None) -> Tensor:
        """x_s, where the flow through x_t passes at s <= t: (batch, *shape)."""
        return landing(self.process.schedule, x_t, self(x_t, t, conditions, s), t, s)

    @torch.no_grad()
    def adopt(self, other: nn.Module) -> None:
        """Begin with the weights of another denoiser, wherever it has one of the same name and shape.

        Of a last layer that also says a variance, the half that says the mean is taken. If the other predicts something
        else, the last layer stays as it was drawn, at zero: in terms of this prediction its weights mean nothing.
        """
        theirs, own = other.state_dict(), self.state_dict()
        if getattr(other, "prediction", self.prediction) != self.prediction:
            theirs = {name: value for name, value in theirs.items() if not is_last(name)}
        elif getattr(other, "learned_variance", False):
            theirs |= {name: value.chunk(2)[0] for name, value in theirs.items() if is_last(name)}
        self.load_state_dict({name: _fitting(theirs.get(name), value) for name, value in own.items()})


def landing(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: Number, s: Number) -> Tensor:
    """Where DDIM's line from x_t at t toward x_0 is at s: (batch, *shape). Times are numbers or (batch,)."""
    now, then = schedule.at(t), schedule.at(s)
    r = then.sigma / now.sigma
    return combine(r, x_t, then.alpha - r * now.alpha, x_0)


def is_last(name: str) -> bool:
    """Whether weights of this name are of a network's last layer (`undiffuse.net`)."""
    return "head" in name.split(".")


def _fitting(given: Tensor | None, own: Tensor) -> Tensor:
    return own if given is None or given.shape != own.shape else given.to(own)
