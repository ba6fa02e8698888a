"""Network + categorical process = a denoiser of tokens, with one meaning: logits of p(x_0^i | x_t), entry by entry.

    denoiser(x_t, t, label=None) -> logits (batch, *shape, classes)

The contract of a network of tokens is ``net(x_t, log_snr, label=None) -> (batch, *shape, classes)`` with x_t int64, the
mask being state K; a network that knows no time ignores log_snr. What it says may be read in two ways, which must not
be mixed up:

    posterior      the logits of p(x_0^i | x_t): what ancestral sampling, the bound and guidance build on
    leave one out  those of p(x_0^i | x_t but x_t^i), to which the process adds what x_t^i says (`Categorical.believed`)

Both are trained by the same losses, because these look at the posterior alone. D3PM's formula for a step back is that
of the second, and its cross-entropy that of the first (`docs/text.md`): a network so trained serves two masters.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undiffuse.core.linear import Number
from undiffuse.denoiser.gaussian import told_level
from undiffuse.denoiser.guidance import Conditional
from undiffuse.process.categorical import Categorical


class TokenDenoiser(nn.Module):
    """Logits of p(x_0 | x_t), from a network that is told tokens and log-SNR.

    Args:
        net: net(x_t, log_snr, label) -> logits (batch, *shape, classes).
        process: How tokens are lost.
        leave_one_out: How to read the network. No matter where a token is either lost or right (`ABSORBING`).
    """

    def __init__(self, net: nn.Module, process: Categorical, leave_one_out: bool = False) -> None:
        super().__init__()
        self.net, self.process, self.leave_one_out = net, process, leave_one_out

    def forward(self, x_t: Tensor, t: Number, **condition: Tensor | None) -> Tensor:
        """Logits at time t, a number or (batch,), of tokens x_t (batch, *shape)."""
        said = self.net(x_t, told_level(self.process.schedule.at(t).log_snr, x_t.device), **condition)
        return self.process.believed(x_t, said, t) if self.leave_one_out else said


@dataclass(frozen=True)
class Known:
    """A denoiser of tokens of which some are known: the network is shown them, and they are believed.

    Attributes:
        denoise: denoise(x_t, t, **condition) -> logits.
        x_0: (*shape,) or (batch, *shape); what it holds where nothing is known does not matter.
        known: Likewise, bool.
    """

    denoise: Conditional
    x_0: Tensor
    known: Tensor

    def __call__(self, x_t: Tensor, t: Number, **condition: Tensor | None) -> Tensor:
        """Logits (batch, *shape, classes): those of what is known are 0 and -inf."""
        logits: Tensor = self.denoise(torch.where(self.known, self.x_0, x_t), t, **condition)
        truth = torch.zeros_like(logits).masked_fill(~F.one_hot(self.x_0, logits.shape[-1]).bool(), -torch.inf)
        return torch.where(self.known[..., None], truth, logits)
