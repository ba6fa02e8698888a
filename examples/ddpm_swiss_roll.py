"""A DDPM on the swiss roll as a well-read tutorial trains it, with a defect that hides, and two mends.

Kernes' post on Towards Data Science, as its code (Jmkernes/Diffusion) has it: 1024 points of scikit-learn's swiss roll
over 10, beta from 1e-5 to 5e-3 in n = 100 steps, the error of eps, Adam at 1e-3 for 400 epochs, ancestral sampling with
variance beta. (The network is ours: a residual MLP as wide and as deep.) But then training ends at

    x_T = sqrt(alpha-bar_T) x_0 + sqrt(1 - alpha-bar_T) z,        alpha-bar_T = prod_i (1 - beta_i) = 0.778,

while sampling starts from N(0, I), farther out than the network has ever been (upper row). The samples still look like
a swiss roll (middle), since every step pulls towards it, and so the defect hides: but too few of them are in the inner
turn (lower row). From true x_T the same network does well. With n = 1000 steps of the same betas, or with a cosine
schedule, training ends where sampling starts.

Errors are sliced Wasserstein distances to fresh points, beside their floor: fresh points against others, as many.
"""

from math import pi
from pathlib import Path

import torch
from gallery import GALLERY, keep
from matplotlib.axes import Axes
from torch import Tensor

from undiffuse.condition.encoder import Encoder
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.data.synthetic.toys import swiss_roll
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import Eps
from undiffuse.draw.style import COLOURS, DATA, MADE, panels, styled
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import Uniform
from undiffuse.measure import floor, sliced_wasserstein
from undiffuse.net import MLP
from undiffuse.process import Affine, CosineTable, Linear
from undiffuse.sampling.grid import trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.samplers import SAMPLERS


@styled
def main(out: Path = GALLERY, rows: int = 1024, epochs: int = 400, count: int = 4000, steps: int = 1000) -> None:
    data, fresh, others = points(rows, seed=0), points(count, seed=1), points(count, seed=2)
    least = floor(sliced_wasserstein, points(4 * count, seed=3), count).median
    print(f"the floor: {least:.3f}; the training points: {sliced_wasserstein(data, fresh) / least:.1f} x")
    figure, every = panels(3, 3, size=(2.75, 2.3))
    schedules = {
        "as published": Linear(1e-5, 5e-3, 100),
        f"{steps} steps": Linear(1e-5, 5e-3, steps),
        "cosine, 100 steps": CosineTable(count=100),
    }
    for k, (name, schedule) in enumerate(schedules.items()):
        process, left = Affine(schedule), float(schedule.alpha_bars()[-1])
        denoiser, noise = train(data, process, epochs), SeededNoise(0)
        noised, start = process.corrupt(others, 1.0, noise), process.start(others, noise)
        samples = ancestral(process, denoiser, start)
        error = sliced_wasserstein(samples, fresh) / least
        print(f"{name}, alpha-bar_T {left:.3f}: {error:.1f} x, {inner(samples):.0%} in the inner third of the roll")
        if k == 0:
            samples_of_noised = ancestral(process, denoiser, noised)
            error_of_noised = sliced_wasserstein(samples_of_noised, fresh) / least
            print(f"the same network from true x_T: {error_of_noised:.1f} x, {inner(samples_of_noised):.0%}")

        ends, roll, shares = every[k::3]
        ink = COLOURS[1] if k == 0 else MADE
        histogram(ends, noised.norm(dim=1), DATA, "training ends")
        histogram(ends, start.norm(dim=1), ink, "sampling starts")
        ends.set(
            title=f"{name}: ᾱ = {left:.3f}", xlabel="distance from the origin", xlim=(0, 4.2), ylim=(0, 1), yticks=[]
        )
        ends.legend()
        roll.scatter(*samples.T, s=1.5, color=ink, alpha=0.5, linewidths=0)
        roll.set(xlim=(-1.6, 1.6), ylim=(-1.5, 1.7), xticks=[], yticks=[], aspect="equal")
        roll.spines[:].set_visible(False)
        roll.set_title(f"samples: {error:.1f} × the floor")
        histogram(shares, along(fresh), DATA, "data")
        histogram(shares, along(samples), ink, "samples")
        shares.set(xlabel="along the roll, from its inner end", ylim=(0, 1.9), yticks=[])
        shares.legend(ncols=2)
    keep(figure, out / "ddpm_swiss_roll.png")


def points(count: int, seed: int) -> Tensor:
    return swiss_roll(count, torch.Generator().manual_seed(seed), noise=0.01)


def train(data: Tensor, process: Affine, epochs: int) -> Denoiser:
    torch.manual_seed(0)
    design = MLP(width=128, depth=2, embedding=128)
    encoder = Encoder({}, design.vector)
    denoiser = Denoiser(design.build((2,), encoder.widths), process, Eps(), encoder=encoder)
    optimizer = torch.optim.Adam(denoiser.parameters(), 1e-3)
    loss, noise = Denoising(Uniform(process.schedule.steps)), Stream()
    for _ in range(epochs):
        for batch in data[torch.randperm(len(data))].split(128):
            optimizer.zero_grad()
            loss(denoiser, batch, noise).mean().backward()
            optimizer.step()
    return denoiser.eval()


def ancestral(process: Affine, denoiser: Denoiser, x: Tensor) -> Tensor:
    times = trailing(process.schedule, process.schedule.steps)
    return last(trajectory(SAMPLERS["ddpm-large"].make(process), denoiser, x, times, SeededNoise(1)))


def along(x: Tensor) -> Tensor:
    """Where on the roll points (count, 2) lie: 0 at its inner end, 1 at its outer one. Uniform for the data."""
    t = 1.5 * pi * (1 + 2 * torch.linspace(0, 1, 1001))
    return torch.cdist(x, torch.stack([t * t.cos(), t * t.sin()], 1) / 10).argmin(1) / 1000


def inner(x: Tensor) -> float:
    """The share of points in the inner third of the roll: 1/3 of the data."""
    return float((along(x) < 1 / 3).float().mean())


def histogram(axes: Axes, x: Tensor, ink: str, name: str) -> None:
    density, edges = torch.histogram(x, 24, density=True)
    axes.stairs(density, edges, color=ink, fill=ink == DATA, alpha=0.4 if ink == DATA else 1.0, label=name)


if __name__ == "__main__":
    main()
