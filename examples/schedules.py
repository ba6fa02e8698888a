"""Every noise schedule: how the data leaves, and how the noise comes.

    x_t = alpha x_0 + sigma z,        log-SNR(t) = log alpha^2/sigma^2

Two schedules with one curve of log-SNR differ by a scaling of x_t alone, which their *family* fixes: variance
preserving (alpha^2 + sigma^2 = 1), variance exploding (alpha = 1), straight (alpha + sigma = 1), or sub-VP
(sigma = 1 - alpha^2).
So look at the black curve first: it says how much time is spent at each level of noise, and where time ends. A curve
that stops high, like latent diffusion's, leaves data in what sampling takes for noise; the printed table says how much.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep

from undiffuse.draw.style import COLOURS, FAINT, INK, MADE, QUIET, panels, styled
from undiffuse.process import (
    EDM,
    VP,
    Cosine,
    CosineTable,
    Fading,
    Flow,
    Linear,
    LogLinear,
    ScaledLinear,
    Schedule,
    Shifted,
    Sigmoid,
    SigmoidBetas,
    SubVP,
    ZeroTerminal,
    ZeroTerminalTable,
)
from undiffuse.process.learned import Learned

NAMED: dict[str, Schedule] = {
    "DDPM: linear β": Linear(),
    "LDM: linear √β": ScaledLinear(),
    "LDM, zero terminal": ZeroTerminalTable(ScaledLinear()),
    "sigmoid β": SigmoidBetas(),
    "VP SDE": VP(),
    "VP, zero terminal": ZeroTerminal(VP()),
    "sub-VP SDE": SubVP(),
    "fading: ᾱ = 1 − t": Fading(),
    "cosine": Cosine(),
    "cosine, β ≤ 0.999": CosineTable(),
    "cosine, shifted by 4": Shifted(Cosine(), 4.0),
    "sigmoid": Sigmoid(),
    "rectified flow": Flow(),
    "VE: log σ linear": LogLinear(),
    "EDM": EDM(),
    "learned, untrained": Learned(),
}
HIGHEST = 1.12  # of alpha and sigma, drawn
REACH = 20.0  # of log-SNR, drawn


@styled
def main(out: Path = GALLERY, times: int = 500) -> None:
    figure, every = panels(4, 4, size=(2.1, 1.75))
    t = torch.linspace(0, 1, times + 1, dtype=torch.float64)[1:]
    print("at t = 1                    alpha     sigma   log-SNR")
    for k, (axes, (name, schedule)) in enumerate(zip(every, NAMED.items(), strict=True)):
        with torch.no_grad():
            alpha, sigma, log_snr = schedule.at(t)
        print(f"{name:<22} {alpha[-1]:10.4f}{sigma[-1]:10.3f}{log_snr[-1]:10.2f}")
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.plot(t, log_snr, color=INK, linewidth=1.2)
        axes.set(xlim=(0, 1), ylim=(-REACH, REACH), xticks=[0, 0.5, 1], yticks=[-REACH, 0, REACH])
        axes.set_title(name, fontsize=8.5)
        shares = axes.twinx()
        shares.plot(t, alpha, color=MADE)
        shares.plot(t, sigma, color=COLOURS[1])
        shares.set(ylim=(0, HIGHEST), yticks=[0, 1])
        if sigma[-1] > HIGHEST:
            shares.text(0.97, 0.8, f"σ → {sigma[-1]:.0f}", color=COLOURS[1], ha="right", fontsize=8)
        axes.tick_params(labelleft=k % 4 == 0, labelbottom=k >= 12)
        shares.tick_params(labelright=k % 4 == 3, right=k % 4 == 3)
    label = {"fontsize": 9, "fontweight": "bold"}
    every[0].text(0.12, 15.5, "α", color=MADE, **label)
    every[0].text(0.85, 11.5, "σ", color=COLOURS[1], **label)
    every[0].text(0.66, -1.5, "log-SNR", color=INK, **label)
    figure.supxlabel("t: the data on the left, noise on the right", fontsize=8.5, color=QUIET)
    keep(figure, out / "schedules.png")


if __name__ == "__main__":
    main()
