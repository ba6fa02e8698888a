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

from torch import Tensor, nn

from undiffuse.core.linear import Number
from undiffuse.denoiser.gaussian import told_level
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
