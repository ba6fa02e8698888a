"""Network + categorical process = a denoiser of tokens, with one meaning: logits of p(x_0^i | x_t), entry by entry.

    denoiser(x_t, t, conditions=None) -> logits (batch, *shape, classes)

The contract of a network of tokens is ``net(x_t, routes) -> (batch, *shape, classes)`` with x_t int64, the mask being
state K. There are two ways to read its output, which must not be confused:

    posterior      the logits of p(x_0^i | x_t): what ancestral sampling, the bound and guidance build on
    leave one out  those of p(x_0^i | x_t but x_t^i), to which the process adds what x_t^i says (`Categorical.believed`)

The same losses train both, because they use the posterior alone. D3PM's formula for a step back belongs to the second
reading, and its cross-entropy to the first (`docs/text.md`): a network trained with both gets conflicting targets.
"""

from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Routes, level_alone
from undiffuse.core.linear import Number
from undiffuse.denoiser.gaussian import Encode, noise_level
from undiffuse.process.categorical import Categorical


class TokenDenoiser(nn.Module):
    """Logits of p(x_0 | x_t, conditions), from a network of tokens.

    Attributes:
        block: How many tokens the network sees as a block, which sees itself and the blocks before it; None is all.

    Args:
        net: net(x_t, routes) -> logits (batch, *shape, classes).
        process: How tokens are lost.
        leave_one_out: How to read the network. It makes no difference if every token is either lost or right
            (`ABSORBING`).
        encoder: What makes routes of the noise level and the conditions.
    """

    learned_variance = False  # of a step; see `denoiser.gaussian`
    jumps: tuple[str, ...] = ()  # see `denoiser.flow_map`

    def __init__(
        self, net: nn.Module, process: Categorical, leave_one_out: bool = False, encoder: Encode = level_alone
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.net, self.process, self.leave_one_out = net, process, leave_one_out
        self.block: int | None = getattr(getattr(net, "design", None), "block", None)

    def forward(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """Logits at time t, a number or (batch,), of tokens x_t (batch, *shape)."""
        said = self.net(x_t, self.routes(t, x_t, conditions))
        return self.process.believed(x_t, said, t) if self.leave_one_out else said

    def beside(self, x_t: Tensor, clean: Tensor, conditions: Conditions | None = None) -> Tensor:
        """Logits of all blocks of x_t at once, of which each sees the blocks before it as they are in ``clean``."""
        said: Tensor = self.net(x_t, self.routes(1.0, x_t, conditions), clean)
        return said

    def routes(self, t: Number, x_t: Tensor, conditions: Conditions | None) -> Routes:
        """What the network is told beside x_t."""
        return self.encoder(noise_level(self.process.schedule.at(t).log_snr, x_t.device), conditions)
