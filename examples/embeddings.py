"""What a network is told of the noise level: one number, drawn out into waves.

    features(v) = [sin f_1 v ... sin f_n v, cos f_1 v ... cos f_n v]

*Discrete*: v is the step's index, and periods run from 2 pi to nearly 20000 pi, as in transformers and DDPM.
*Continuous*: v is the log-SNR, so that schedule and grid may change after training; periods from 80 nats down to 1, or
random ones.

Above, a row for every level and a column for every feature. Below, the cosine of the angle between the features of any
two levels. A bright diagonal that fades means that near levels look alike and far ones do not: a network can build on
that. The index's slow waves hardly move within 1000 steps, and so even its far ends look somewhat alike.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep
from torch.nn.functional import normalize

from undiffuse.condition.waves import GaussianFourier, Sinusoidal, sinusoidal_table
from undiffuse.draw.style import panels, styled

REACH = 20.0  # log-SNR lives in about [-20, 20]
STEPS = 1000


@styled
def main(out: Path = GALLERY, levels: int = 500, width: int = 64) -> None:
    torch.manual_seed(0)  # for the random periods
    log_snr = torch.linspace(-REACH, REACH, levels)
    embeddings = {
        "step index": ((0, STEPS), sinusoidal_table(STEPS, width)[:: STEPS // levels]),
        "log-SNR": ((-REACH, REACH), Sinusoidal(width)(log_snr)),
        "log-SNR, random periods": ((-REACH, REACH), GaussianFourier(width)(log_snr)),
    }
    look = {"origin": "lower", "aspect": "auto", "cmap": "RdBu_r", "vmin": -1, "vmax": 1}
    figure, every = panels(3, 2, size=(2.8, 2.75))
    for above, below, (name, ((low, high), features)) in zip(every[:3], every[3:], embeddings.items(), strict=True):
        alike = normalize(features, dim=1) @ normalize(features, dim=1).T
        still = int((features.amax(0) - features.amin(0) < 0.5).sum())
        print(f"{name:<24} {still:2} of {width} features move by less than 1/2; mean similarity {alike.mean():.2f}")
        above.imshow(features, extent=(0, width, low, high), interpolation="nearest", **look)
        above.set(title=name, xticks=[0, width // 2, width], xlabel="sines, then cosines", ylabel=name.split(",")[0])
        shades = below.imshow(alike, extent=(low, high, low, high), **look)
        below.set(xlabel=name.split(",")[0], ylabel=name.split(",")[0])
    every[3].set_title("how alike any two levels are")
    figure.colorbar(shades, ax=every, shrink=0.5, aspect=30, ticks=[-1, 0, 1])
    keep(figure, out / "embeddings.png")


if __name__ == "__main__":
    main()
