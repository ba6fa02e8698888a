"""How far from the exact posterior are samples of linear inverse problems? python -m benchmarks.inverse

The data are a Gaussian mixture of 6 components in 8 dimensions, with random means and covariances, of about unit
variance. Seen are 3 of the numbers (a mask), or the means of 4 neighbouring pairs, with noise of deviation 0.05. The
denoiser is exact, and so is the posterior, a mixture again (`undiffuse.exact.observed`): what is wrong is the method's.
It is the sliced Wasserstein distance of 500 samples from as many of the posterior, the mean over 4 draws of what is
seen; beside it those of 2 other mixtures. The floor is that of two draws of the posterior. Every
method has 50 ancestral steps, of one evaluation each (RePaint: 10). Nothing was chosen here: weights and zeta are the
defaults.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.core.operator import Masked, Operator
from undiffuse.denoiser.known import Known
from undiffuse.denoiser.reconstruction import Even, Isotropic, Matched, Reconstruction
from undiffuse.exact import GaussianMixture
from undiffuse.exact.observed import observed
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.process import Affine, Cosine
from undiffuse.sampling.grid import angle_uniform
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step import Step
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.pull import Pulled
from undiffuse.step.repaint import Repainted

SIZE, COMPONENTS, SAMPLES, DRAWS, STEPS, DEVIATION = 8, 6, 500, 4, 50, 0.05
KNOWN = torch.arange(SIZE) < 3


@dataclass(frozen=True)
class Pairs:
    """The means of neighbouring pairs."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).mean(2)

    def adjoint(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(2, 1) / 2


OPERATORS: dict[str, Operator] = {"3 of 8 known": Masked(KNOWN), "means of pairs": Pairs()}


def mixture(seed: int) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    means = 0.8 * torch.randn(COMPONENTS, SIZE, generator=generator, dtype=torch.float64)
    roots = torch.randn(COMPONENTS, SIZE, SIZE, generator=generator, dtype=torch.float64) / SIZE**0.5
    return GaussianMixture(Affine(Cosine()), means.new_ones(COMPONENTS), means, 0.35 * roots @ roots.mT)


def methods(prior: GaussianMixture, operator: Operator, y: Tensor) -> Iterator[tuple[str, Step, Callable]]:
    """Each by name, as a step and a denoiser."""
    process, plain = prior.process, Ancestral(prior.process)
    yield "nothing heeded", plain, prior
    if isinstance(operator, Masked):
        yield "replacement", plain, Known(prior, process, y, KNOWN)
        yield "RePaint, 10 rounds", Repainted(plain, process, y, KNOWN), prior
    yield "DPS, zeta 1", Pulled(plain, operator, y), prior
    guides = {
        "reconstruction, weight 2": (Even(), 1),
        "PiGDM": (Isotropic(), 1),
        "moment matching, 1 iteration": (Matched(), 1),
        "moment matching, 4 iterations": (Matched(), 4),
    }
    for name, (covariance, iterations) in guides.items():
        yield name, plain, Reconstruction(prior, process, operator, y, DEVIATION, covariance, iterations)


def distances(seed: int, operator: Operator) -> dict[str, float]:
    """The distance of each method from the posterior, the mean over what is seen."""
    prior, found = mixture(seed), dict[str, list[float]]()
    matrix = operator(torch.eye(SIZE).double()).T
    seen = matrix.abs().sum(1) > 0
    for draw in range(DRAWS):
        x_0 = prior.sample(1, SeededNoise(draw))
        y = operator(x_0)
        y = y + DEVIATION * SeededNoise(draw + 100).normal(y) * seen
        posterior = observed(prior, matrix[seen], y[0, seen], DEVIATION)
        truth, other = (posterior.sample(SAMPLES, SeededNoise(s)) for s in (1, 2))
        found.setdefault("the posterior itself", []).append(sliced_wasserstein(truth, other))
        for name, step, denoise in methods(prior, operator, y):
            noise, times = SeededNoise(3), angle_uniform(prior.process.schedule, STEPS)
            start = prior.process.start(x_0.expand(SAMPLES, -1), noise, times[0])
            x = last(trajectory(step, denoise, start, times, noise))
            found.setdefault(name, []).append(sliced_wasserstein(x, truth))
    return {name: statistics.fmean(values) for name, values in found.items()}


def main() -> None:
    for label, operator in OPERATORS.items():
        print(f"\n{label}: sliced Wasserstein distance from the exact posterior", flush=True)
        every = [distances(seed, operator) for seed in range(3)]
        for name, value in every[0].items():
            rest = [one[name] for one in every[1:]]
            print(f"  {name:32} {value:.3f}  ({min(rest):.3f} to {max(rest):.3f})", flush=True)


if __name__ == "__main__":
    main()
