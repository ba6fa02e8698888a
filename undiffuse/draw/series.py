"""Series as curves: each in its own panel, one colour for each channel, all on one scale."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.draw.style import COLOURS, MADE, QUIET, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 24  # series on a sheet
PANEL = (2.2, 0.9)  # inches


@styled
def series(x: Tensor, captions: Sequence[str] = (), limits: tuple[float, float] | None = None) -> "Figure":
    """``x (count, channels, length)`` as curves, the first MOST of them; ``limits`` of the values, x's own if None."""
    x = x[:MOST].detach().cpu().float()
    columns = max(1, min(4, round(math.sqrt(len(x)))))
    figure, axes = panels(columns, math.ceil(len(x) / columns), PANEL)
    low, high = limits or value_limits(x)
    for k, panel in enumerate(axes):
        panel.set(xticks=[], yticks=[], ylim=(low, high))
        panel.spines[:].set_visible(False)
        if k >= len(x):
            continue
        for channel, curve in enumerate(x[k]):
            ink = MADE if x.shape[1] == 1 else COLOURS[channel % len(COLOURS)]
            panel.plot(curve.numpy(), color=ink, linewidth=0.9)
        if captions:
            panel.set_title(captions[k], fontsize=7, fontweight="normal", color=QUIET, pad=2)
    return figure


def value_limits(x: Tensor) -> tuple[float, float]:
    """Limits that hold nearly all values, and a margin."""
    values = x.flatten().double()
    some = values[torch.linspace(0, len(values) - 1, min(len(values), 100_000)).long()]
    low, high = (float(some.quantile(q)) for q in (0.001, 0.999))
    extra = 0.1 * max(high - low, 1e-6)
    return low - extra, high + extra
