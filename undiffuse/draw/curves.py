"""Curves: quality against cost, with error bars and the floor; and the log of a training."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from undiffuse.core.errors import UserError
from undiffuse.draw.style import FAINT, INK, MADE, QUIET, colours, name_ends, panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Quality(NamedTuple):
    """The quality of samples at one number of network evaluations."""

    evaluations: int
    mean: float
    error: float  # standard error; nan for one seed


@styled
def quality(
    curves: Mapping[str, Sequence[Quality]], measure: str, floor: float, spread: float = 0.0, title: str = ""
) -> "Figure":
    """One curve for each sampler: ``measure`` (lower is better) against evaluations, with standard errors.

    The band is ``floor`` +- ``spread``, the measure between real data and real data. Below it there is nothing to gain.
    """
    drawn = {name: sorted(curve) for name, curve in curves.items() if curve}
    if not drawn:
        raise UserError("no sampler has a point to draw; ask for more evaluations")
    figure, (axes,) = panels(size=(7.0, 4.2))
    inks = colours(len(drawn))
    for ink, curve in zip(inks, drawn.values(), strict=True):
        evaluations, means, errors = zip(*curve, strict=True)
        bars = [0.0 if math.isnan(error) else error for error in errors]
        axes.errorbar(
            evaluations, means, bars, color=ink, marker="o", markersize=4, elinewidth=1, capsize=2.5, capthick=1
        )
    ticks = [point.evaluations for curve in drawn.values() for point in curve]
    _log_axes(axes, ticks, [point.mean for curve in drawn.values() for point in curve], floor)
    band = 0.0 if math.isnan(spread) else spread
    axes.axhspan(max(floor - band, 1e-12), floor + band, color=FAINT, linewidth=0, zorder=0)
    axes.axhline(floor, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set(xlabel="network evaluations", ylabel=f"{measure} (lower is better)")
    axes.set_title(title or measure)
    figure.draw_without_rendering()
    ends = [(curve[-1].evaluations, curve[-1].mean) for curve in drawn.values()]
    name_ends(axes, [*drawn, "real data"], [*ends, (max(ticks), floor)], [*inks, QUIET])
    return figure


@styled
def training(log: Mapping[str, Sequence[tuple[float, float]]]) -> "Figure":
    """One panel for each logged quantity: (step, value) pairs, with a running average if they are noisy."""
    drawn = {name: points for name, points in log.items() if len(points) > 1}
    if not drawn:
        raise UserError("the log has fewer than two values of each quantity; train longer")
    figure, every = panels(len(drawn), size=(4.2, 3.0))
    for axes, (name, points) in zip(every, drawn.items(), strict=True):
        steps, values = zip(*points, strict=True)
        window = len(values) // 50
        axes.plot(steps, values, color=FAINT if window > 1 else MADE, linewidth=1.0 if window > 1 else 1.6)
        if window > 1:
            axes.plot(steps, _running(values, window), color=MADE)
        if min(values) > 0 and max(values) > 10 * min(values):
            axes.set_yscale("log")
        axes.set(xlabel="step")
        axes.set_title(name)
        axes.locator_params(axis="x", nbins=5)
    return figure


def _running(values: Sequence[float], window: int) -> list[float]:
    """The exponential average with a memory of ``window`` values, unbiased from the first value on."""
    decay, total, weight, averages = 1 - 1 / window, 0.0, 0.0, []
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        averages.append(total / weight)
    return averages


def _log_axes(axes: "Axes", ticks: Sequence[int], values: Sequence[float], floor: float) -> None:
    """Both axes logarithmic, with readable ticks: the evaluations of the comparison, and 1, 2, 5 times powers of
    ten."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(_apart(ticks)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = min(*values, floor), max(*values, floor)
    axes.set_ylim(low / 1.35, high * 1.25)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.tick_params(colors=INK)


def _apart(ticks: Sequence[int]) -> list[int]:
    """Of ticks that would touch on a log axis, a factor of less than 7/6 apart, the most frequent, once."""
    kept: list[int] = []
    for tick, _ in Counter(sorted(ticks, reverse=True)).most_common():
        if all(max(tick, other) >= 7 / 6 * min(tick, other) for other in kept):
            kept.append(tick)
    return sorted(kept)
