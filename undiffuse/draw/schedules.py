"""Drawings of noise schedules: alpha, sigma and log-SNR against time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from undiffuse.draw.style import colours, name_ends, panels, styled
from undiffuse.process.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = 600  # at which the curves are drawn


@styled
def schedules(named: Mapping[str, Schedule]) -> "Figure":
    """Alpha, sigma (logarithmic: it spans from none to VE's 80) and log-SNR over t, one colour for each schedule."""
    figure, (alpha, sigma, log_snr) = panels(3, size=(4.0, 3.8))
    t = torch.linspace(0, 1, TIMES, dtype=torch.float64)[1:]
    inks = colours(len(named))
    ends = []
    for ink, schedule in zip(inks, named.values(), strict=True):
        now = schedule.at(t)
        for axes, curve in zip((alpha, sigma, log_snr), now, strict=True):
            axes.plot(t, curve, color=ink, linewidth=1.4)
        ends.append((1.0, float(now.log_snr[-1].clamp(-18, 18))))
    alpha.set(title="α, how much data is left", ylim=(-0.02, 1.05))
    sigma.set(title="σ, how much noise there is", yscale="log", ylim=(1e-3, 120))
    log_snr.set(title="log α²/σ²", ylim=(-18, 18))
    for axes in (alpha, sigma, log_snr):
        axes.set(xlim=(0, 1), xlabel="t", xticks=[0, 0.5, 1])
    figure.draw_without_rendering()
    name_ends(log_snr, list(named), ends, inks)
    return figure
