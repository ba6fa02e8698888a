"""A classifier of noisy data: which label, seen through the noise?

    L = E_{t, x_0, z} -log p_t(label | x_t)

Its minimiser is Bayes' rule over the diffused data, p_t(y | x_t) = p(y) q_t(x_t | y)/q_t(x_t), whose gradient guides a
denoiser that knows no labels (Song et al. 2021, appendix I; Dhariwal and Nichol 2021, section 4).

Any network classifies: what it says of each pixel is averaged, and read by one linear layer. What is read is scaled by
how much of the data is left, alpha (in a process of unit variance): of two Gaussians the log-odds are alpha times a
bounded function, and a denoiser is moved by sigma^2/alpha times their gradient, which would blow up any error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.label import Classes
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.loss.time import LawOfTime, Uniform

# of a network's description: (shape, classes, out_multiple) -> the module
Build = Callable[[tuple[int, ...], int, int], nn.Module]
FEATURES = 64  # at least, that the labels are read from


class Classifier(nn.Module):
    """(batch, *shape) -> log p(label | x) for every label, (batch, classes); attributes lie side by side."""

    def __init__(self, build: Build, shape: tuple[int, ...], classes: Classes) -> None:
        super().__init__()
        self.sizes = [classes] if isinstance(classes, int) else list(classes)
        if min(self.sizes, default=0) < 2:
            raise UserError("a classifier needs data with labels, at least two of them")
        multiple = math.ceil(FEATURES / shape[0])
        self.net = build(shape, 0, multiple)
        self.read = nn.Linear(multiple * shape[0], sum(self.sizes))

    def forward(self, x: Tensor, log_snr: Tensor, label: None = None) -> Tensor:
        """At noise level ``log_snr``, () or (batch,)."""
        seen = F.silu(self.net(x, log_snr))
        features = seen.flatten(2).mean(2) if seen.ndim > 2 else seen
        left = log_snr.sigmoid().sqrt().reshape(-1, 1)
        odds = self.read.bias + left * F.linear(features, self.read.weight)
        parts = odds.split(self.sizes, dim=1)
        return torch.cat([part.float().log_softmax(1) for part in parts], 1)


@dataclass(frozen=True)
class CrossEntropy:
    """-log p_t(label | x_t), one t a sample; a network trained by it is a `Classifier`, and samples nothing."""

    time: LawOfTime = field(default_factory=Uniform)

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, label: Tensor | None = None) -> Tensor:
        """Losses (batch,); 0 where no label is known. Raises UserError for data without labels."""
        if label is None:
            raise UserError("a classifier needs data with labels")
        schedule = denoiser.process.schedule
        t = self.time.sample(len(x_0), noise, schedule)
        losses = -log_prob(denoiser, denoiser.process.corrupt(x_0, t, noise), t, label)
        if denoiser.training:
            self.time.update(t, losses, schedule)
        return losses


def log_probs(classifier: Denoiser, x_t: Tensor, t: Number) -> list[Tensor]:
    """log p_t(y | x_t) of every label, (batch, classes), of one attribute after the other."""
    net = classifier.net
    assert isinstance(net, Classifier)
    return list(classifier.output(x_t, t).y.split(net.sizes, dim=1))


def log_prob(classifier: Denoiser, x_t: Tensor, t: Number, label: Tensor) -> Tensor:
    """log p_t(label | x_t), (batch,), summed over the attributes that are told; differentiable in x_t."""
    columns = label.reshape(len(label), -1).unbind(1)
    pairs = zip(log_probs(classifier, x_t, t), columns, strict=True)
    each = [every.gather(1, column.clamp(min=0)[:, None])[:, 0] * (column >= 0) for every, column in pairs]
    return torch.stack(each).sum(0)
