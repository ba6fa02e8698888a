"""Is the heartbeat understood? python -m benchmarks.heartbeat [--run RUN ...]

Trains `heartbeat` (the binomial diffusion of Sohl-Dickstein et al. 2015, 2,000 steps) and `heartbeat-masked`, or takes
runs, and prints what a sequence of 20 bits costs by the bound, in bits, beside its entropy, log2 5, and beside the same
bound of the exact denoiser, which nobody can be below: every bit is drawn by itself in a step, which costs.
"""

import argparse
import math
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from undiffuse.loss.categorical import TokenBound
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.measure.bits import summary, token_bits
from undiffuse.noise import Stream
from undiffuse.process import Categorical
from undiffuse.recipes import RECIPES
from undiffuse.run import load
from undiffuse.train.loop import train

PUBLISHED = 2.414  # bits, Sohl-Dickstein et al. 2015, table 1; there with a prior of beats one time in five


class Exact(nn.Module):
    """The denoiser that knows the five sequences: p(x_0 | x_t) by Bayes' rule."""

    def __init__(self, process: Categorical, data: Tensor) -> None:
        super().__init__()
        self.process, self.data = process, data.unique(dim=0).long()

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (batch, length, 2)."""
        law = self.process.marginal(self.data[None].expand(len(t), -1, -1), t).log_probs
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
        print(f"entropy {math.log2(5):.3f}, published in 2015 {PUBLISHED}, the exact denoiser {ideal(options.draws)}")
        print(f"{'':20} {'bits a sequence':>18} {'of entropy':>11} {'steps':>7} {'seconds':>8}")
        for run in runs:
            data = run.dataset("test")
            bits, length = token_bits(run, data, options.draws), data.x.shape[1]
            told = f"{length * bits.mean:.3f} ± {length * bits.error:.3f}"
            ratio = length * bits.mean / math.log2(5)
            print(f"{run.folder.name:20} {told:>18} {ratio:11.3f} {run.step:7,} {run.seconds:8.0f}", flush=True)


@torch.no_grad()
def ideal(draws: int) -> str:
    """The bound of 2,000 steps of the exact denoiser, in bits a sequence."""
    recipe = RECIPES["heartbeat"]()
    data = recipe.data.open().x
    denoiser = Exact(Categorical(recipe.schedule, recipe.kernel, 2, torch.float64), data).eval()
    bound = TokenBound(Uniform(steps=2_000, draws=LowDiscrepancy()), auxiliary=0.0)
    noise = Stream(torch.Generator().manual_seed(0))
    found = summary(torch.cat([bound(denoiser, data.long(), noise).double() for _ in range(draws)]) / math.log(2))
    return f"{20 * found.mean:.3f} ± {20 * found.error:.3f}"


if __name__ == "__main__":
    main()
