"""Pictures from pictures, with an exact denoiser: from a digit by strength, and the lower half of one from its upper.

The data is a mixture of 30 Gaussians that was fitted to handwritten digits of 8 x 8 pixels, so that the denoiser is
exact, and the distribution of the lower half given the upper one is known too.

Left, a seven noised to a strength and sampled from there: at .2 it is itself, at .9 anything. Right, the same seven,
whose lower half is drawn by each way to complete what is known, and last from the exact distribution. The number is the
sliced Wasserstein distance to it, in standard deviations of a pixel.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.core.operator import Masked
from undiffuse.data.readers.digits import digits
from undiffuse.denoiser.known import Known
from undiffuse.denoiser.reconstruction import Isotropic, Matched, Reconstruction
from undiffuse.draw.style import panels, styled
from undiffuse.exact import GaussianMixture
from undiffuse.exact.observed import observed
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.process import Affine, Cosine
from undiffuse.sampling.grid import angle_uniform, cut
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step import Step
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.repaint import Repainted

PROCESS = Affine(Cosine())
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 0.9)
KNOWN = torch.arange(64) < 32
DEVIATION = 0.02
SHOWN = 7  # samples a row


def drawn(step: Step, denoise: object, like: Tensor, steps: int) -> Tensor:
    noise, times = SeededNoise(1), angle_uniform(PROCESS.schedule, steps)
    return last(trajectory(step, denoise, PROCESS.start(like, noise, times[0]), times, noise))


def from_strength(denoise: GaussianMixture, x_0: Tensor, strength: float, steps: int) -> Tensor:
    noise, t = SeededNoise(1), PROCESS.time(strength)
    times = cut(angle_uniform(PROCESS.schedule, steps), t)
    return last(trajectory(Ancestral(PROCESS), denoise, PROCESS.corrupt(x_0, t, noise), times, noise))


@styled
def main(out: Path = GALLERY, count: int = 300, steps: int = 60, components: int = 30) -> None:
    data = digits()
    x = data.x.flatten(1).double()
    mean, std = x.mean(), x.std()
    denoise = GaussianMixture.fit(PROCESS, (x - mean) / std, components, floor=1e-2)
    assert data.labels is not None
    seven = ((x - mean) / std)[data.labels == 7][:1]
    by_strength = {f"strength {s:g}": from_strength(denoise, seven.expand(SHOWN, -1), s, steps) for s in STRENGTHS}

    mask, plain, like = Masked(KNOWN), Ancestral(PROCESS), seven.expand(count, -1)
    y = mask(seven)
    isotropic, matched = (
        Reconstruction(denoise, PROCESS, mask, y, DEVIATION, covariance) for covariance in (Isotropic(), Matched())
    )
    completed = {
        "replacement": drawn(plain, Known(denoise, PROCESS, seven, KNOWN), like, steps),
        "RePaint": drawn(Repainted(plain, PROCESS, seven, KNOWN), denoise, like, steps),
        "PiGDM": drawn(plain, isotropic, like, steps),
        "moment matching": drawn(plain, matched, like, steps),
    }
    posterior = observed(denoise, torch.eye(64).double()[KNOWN], seven[0, KNOWN], DEVIATION)
    truth, other = (posterior.sample(count, SeededNoise(seed)) for seed in (2, 3))
    completed["the exact distribution"] = other
    figure, axes = panels(2, size=(4.2, 4.4))
    for panel, rows in zip(axes, (by_strength, completed), strict=True):
        sheet = torch.cat([torch.cat([seven, found[:SHOWN]]) for found in rows.values()])
        tiles = (sheet * std + mean).view(len(rows), SHOWN + 1, 8, 8)
        padded = torch.nn.functional.pad(tiles, (1, 1, 1, 5), value=255)
        panel.imshow(padded.permute(0, 2, 1, 3).flatten(0, 1).flatten(1), cmap="gray", vmin=0, vmax=255)
        for row, (name, found) in enumerate(rows.items()):
            off = sliced_wasserstein(found, truth) if rows is completed else None
            text = name if off is None else f"{name}: {off:.3f}"
            panel.text(11, 14 * row + 12.5, text, fontsize=7, va="center")
            print(text)
        panel.axis("off")
    axes[0].set_title("from a picture, by strength", fontsize=9)
    axes[1].set_title("its lower half, given the upper", fontsize=9)
    keep(figure, out / "from_pictures.png")


if __name__ == "__main__":
    main()
