"""The paths of DDIM and of gradient estimation, from the same noise, at few evaluations of an exact denoiser.

Both go in straight lines, along the noise that the denoiser sees in x_t. DDIM (Song et al. 2021) trusts it as it is:

    x_s/alpha_s = x_t/alpha_t + (sigma_s/alpha_s - sigma_t/alpha_t) z

Gradient estimation (Permenter and Yuan 2024, algorithm 2) puts 2 z - z_before in the place of z. Along the way the z
that is seen changes steadily, and the momentum anticipates what it will be; it costs no evaluation.

Behind them the data, a mixture fitted to a swiss roll, and in grey the exact paths of the probability flow, to where
they end (rings). Right, how far from there samples end, the median of many; both methods visit the same times.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.data.synthetic.toys import swiss_roll
from undiffuse.draw.style import COLOURS, FAINT, MADE, QUIET, panels, styled
from undiffuse.exact import GaussianMixture
from undiffuse.process import Affine, Linear
from undiffuse.sampling import grid
from undiffuse.sampling.loop import trajectory
from undiffuse.step import Step
from undiffuse.step.ddim import DDIM
from undiffuse.step.gradient_estimation import GradientEstimation
from undiffuse.step.heun import Heun

PROCESS = Affine(Linear())
STEPS: dict[str, tuple[Step, str]] = {
    "DDIM": (DDIM(PROCESS), COLOURS[1]),
    "gradient estimation": (GradientEstimation(PROCESS), MADE),
}
COSTS = (4, 5, 8, 12, 16, 25, 40, 60, 100)  # evaluations
SHOWN = 5


@styled
def main(out: Path = GALLERY, count: int = 1000, exact: int = 500) -> None:
    data = swiss_roll(3000, torch.Generator().manual_seed(0)).double()
    data = (data - data.mean(0)) / data.std()
    denoise = GaussianMixture.fit(PROCESS, data, components=12)
    noise = PROCESS.start(torch.empty(count, 2, dtype=torch.float64), SeededNoise(0))

    def run(step: Step, evaluations: int, x: Tensor) -> list[Tensor]:
        times = grid.gradient_estimation(PROCESS.schedule, evaluations)
        return [state.x for state in trajectory(step, denoise, x, times, SeededNoise(0))]

    paths = torch.stack(run(Heun(PROCESS), exact, noise))  # (times, count, 2)
    far = (paths[-1] - paths[0]).norm(dim=1)[:60].topk(8).indices  # of 60, those that travel farthest
    figure, (*planes, errors) = panels(3, size=(2.9, 3.2))
    for axes, (name, (step, ink)) in zip(planes, STEPS.items(), strict=True):
        axes.scatter(*data.T, s=3, color=FAINT, linewidths=0)
        axes.plot(*paths[:, far].permute(2, 0, 1), color=QUIET, linewidth=1)
        axes.scatter(*paths[-1, far].T, s=40, facecolors="none", edgecolors=QUIET, zorder=3)
        line = {"color": ink, "linewidth": 1, "marker": "o", "markersize": 3}
        axes.plot(*torch.stack(run(step, SHOWN, noise[far])).permute(2, 0, 1), **line)
        axes.set(title=name, xlabel=f"{SHOWN} evaluations", xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
        axes.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        medians = [float((run(step, cost, noise)[-1] - paths[-1]).norm(dim=1).median()) for cost in COSTS]
        errors.plot(COSTS, medians, color=ink, marker="o", markersize=4)
        print(f"{name:<20}", "  ".join(f"{cost}: {error:.4f}" for cost, error in zip(COSTS, medians, strict=True)))
    for (name, (_, ink)), at in zip(STEPS.items(), ((6, 0.2), (4, 0.018)), strict=True):
        errors.text(*at, name, color=ink, fontsize=9)
    errors.set(xscale="log", yscale="log", xlabel="evaluations", title="error at the end")
    errors.xaxis.set_major_locator(FixedLocator(COSTS[::2]))
    errors.xaxis.set_minor_locator(NullLocator())
    errors.xaxis.set_major_formatter("{x:g}")
    errors.yaxis.set_major_formatter("{x:g}")
    keep(figure, out / "trajectories.png")


if __name__ == "__main__":
    main()
