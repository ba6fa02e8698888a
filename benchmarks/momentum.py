"""Gradient estimation against DDIM where both are exactly known: python -m benchmarks.momentum

1. Data N(0, 1), exact denoiser, sigma log-spaced from 40 to .01: the standard deviation of the samples over the
   truth, for momentum gamma = 1 (DDIM), 1.6 and 2, in closed form (the update multiplies x by a number).
2. A mixture of 10 Gaussians in 64 dimensions, exact denoiser: the median error at the end, against the exact flow, of
   DDIM and of gradient estimation (gamma = 2), both on the grid of the paper (Permenter and Yuan 2024).
"""

import torch

from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import Affine, Linear
from undiffuse.process import LogLinear as LogLinearSchedule
from undiffuse.sampling.grid import LogLinearGrid, gradient_estimation
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.samplers import SAMPLERS
from undiffuse.step.ddim import DDIM
from undiffuse.step.gradient_estimation import GradientEstimation

COUNTS = (5, 10, 20, 50)


def scale_table() -> None:
    """The table of sampled over exact scale."""
    process = Affine(LogLinearSchedule(sigma_min=0.01, sigma_max=40.0))
    exact = Gaussian(process, torch.zeros(1, dtype=torch.float64), torch.eye(1, dtype=torch.float64))
    start = torch.ones(1, 1, dtype=torch.float64)
    print("sampled scale / exact scale\n    N" + "".join(f"  gamma {g:<4}" for g in (1.0, 1.6, 2.0)))
    for count in COUNTS:
        levels = [40 * (0.01 / 40) ** (i / count) for i in range(count + 1)]
        times = tuple(float(process.schedule.time(-2 * torch.tensor(s, dtype=torch.float64).log())) for s in levels)
        row = []
        for gamma in (1.0, 1.6, 2.0):
            end = last(trajectory(GradientEstimation(process, gamma), exact, start, times, SeededNoise(0)))
            truth = ((1 + 0.01**2) / (1 + 40**2)) ** 0.5
            row.append(float(end) / truth)
        print(f"{count:5}" + "".join(f"  {x:10.3f}" for x in row))


def mixture() -> None:
    """Errors at the end of the flow."""
    process, generator = Affine(Linear()), torch.Generator().manual_seed(0)
    means = torch.randn(10, 64, generator=generator, dtype=torch.float64)
    roots = torch.randn(10, 64, 64, generator=generator, dtype=torch.float64) / 16
    exact = GaussianMixture(process, torch.ones(10, dtype=torch.float64), means, roots @ roots.mT)
    x = process.start(torch.empty(256, 64, dtype=torch.float64), SeededNoise(0))
    fine = LogLinearGrid(sigma_min=1e-4)(process.schedule, 1000)
    truth = last(trajectory(SAMPLERS["dpm++3m"].make(process), exact, x, fine, SeededNoise(0)))
    print("\nmedian RMSE at the end of the exact flow, 64 dimensions\n    N        DDIM  gradient est.  ratio")
    for count in COUNTS:
        times = gradient_estimation(process.schedule, count)
        ddim, momentum = (
            float((last(trajectory(step, exact, x, times, SeededNoise(0))) - truth).square().mean(1).sqrt().median())
            for step in (DDIM(process), GradientEstimation(process))
        )
        print(f"{count:5}  {ddim:10.4f}  {momentum:13.4f}  {ddim / momentum:5.1f}")


def main() -> None:
    with torch.no_grad():
        scale_table()
        mixture()


if __name__ == "__main__":
    main()
