"""Is the heartbeat understood? python -m benchmarks.heartbeat [--run RUN ...]

Trains `heartbeat` (the binomial diffusion of Sohl-Dickstein et al. 2015, 2,000 steps) and `heartbeat-masked`, or takes
runs, and prints what a sequence of 20 bits costs by the bound, in bits, beside its entropy, log2 5, and beside the same
bound of the exact denoiser, which nobody can be below: every bit is drawn by itself in a step, which costs.

"as in 2015" is the same bound with the last step as theirs, which is not learned: p(x_0 | x_1) is q(x_1 | x_0), and
costs the entropy of a bit flipped with probability 1/4000, twenty times.
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undiffuse.core.noise import Stream
from undiffuse.evaluate.bits import summary, token_bits
from undiffuse.loss.categorical import TokenBound
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.measure.estimate import Estimate
from undiffuse.process import UNIFORM, Categorical
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import load
from undiffuse.theory.likelihood import reconstruction
from undiffuse.train.loop import train

STEPS, LENGTH = 2000, 20
PUBLISHED = 2.414  # bits, Sohl-Dickstein et al. 2015, table 1; there with a prior of beats one time in five


class Exact(nn.Module):
    """The denoiser that knows the five sequences: p(x_0 | x_t) by Bayes' rule."""

    def __init__(self, process: Categorical, data: Tensor) -> None:
        super().__init__()
        self.process, self.data = process, data.unique(dim=0).long()

    def forward(self, x_t: Tensor, t: Tensor | float, conditions: None = None) -> Tensor:
        """Logits (batch, length, 2)."""
        count = len(t) if isinstance(t, Tensor) else 1
        law = self.process.marginal(self.data[None].expand(count, -1, -1), t).log_probs
        law = law.expand(len(x_t), -1, -1, -1)
        here = x_t[:, None, :, None].expand(-1, len(self.data), -1, 1)
        belief = law.gather(-1, here)[..., 0].sum(-1).softmax(-1)
        beat = belief @ self.data.to(belief)
        return torch.stack([1 - beat, beat], -1).clamp_min(1e-30).log()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--run", nargs="*", help="runs to measure, instead of training")
    words.add_argument("--draws", type=int, default=32, help="times a sequence, of 10,000 sequences")
    options = words.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        names = ("heartbeat", "heartbeat-masked")
        runs = map(load, options.run) if options.run else (train(RECIPES[n](), Path(folder) / n, True) for n in names)
        print(f"entropy {math.log2(5):.3f}, published in 2015 {PUBLISHED}")
        print(f"{'':20} {'bits a sequence':>18} {'as in 2015':>11} {'of entropy':>11} {'steps':>7} {'seconds':>8}")
        recipe = RECIPES["heartbeat"]()
        process = Categorical(recipe.model.schedule, recipe.model.kernel, 2, torch.float64)
        exact = Exact(process, recipe.data.open().x).eval()
        line("the exact denoiser", exact, ideal(exact, options.draws), "")
        for run in runs:
            bits = token_bits(run, run.dataset("test"), options.draws)
            line(run.folder.name, run.denoiser, bits, f"{run.step:7,} {run.seconds:8.0f}")


def line(name: str, denoiser: Any, bits: Estimate, cost: str) -> None:
    """One line of the table."""
    mean, error = LENGTH * bits.mean, LENGTH * bits.error
    told = f"{mean:.3f} ± {error:.3f}"
    theirs = f"{mean + fixed_last_step(denoiser):.3f}" if denoiser.process.kernel == UNIFORM else ""
    print(f"{name:20} {told:>18} {theirs:>11} {mean / math.log2(5):11.3f} {cost}", flush=True)


@torch.no_grad()
def fixed_last_step(denoiser: Any) -> float:
    """What the last step costs more if it is not learned, in bits a sequence."""
    x_0, t = RECIPES["heartbeat"]().data.open().x.long(), 1 / STEPS
    flipped = t / 2
    fixed = -LENGTH * (flipped * math.log2(flipped) + (1 - flipped) * math.log2(1 - flipped))
    noise = Stream(torch.Generator().manual_seed(1))
    return fixed - float(reconstruction(denoiser.process, denoiser, x_0, t, noise).mean()) / math.log(2)


@torch.no_grad()
def ideal(denoiser: Exact, draws: int) -> Estimate:
    """The bound of the exact denoiser, in bits a token."""
    bound, noise = TokenBound(Uniform(STEPS, draws=LowDiscrepancy()), auxiliary=0.0), Stream(torch.Generator())
    x_0 = RECIPES["heartbeat"]().data.open().x.long()
    nats = torch.stack([bound(denoiser, x_0, noise) for _ in range(draws)])
    return summary(nats.mean(0).double() / math.log(2))


if __name__ == "__main__":
    main()
