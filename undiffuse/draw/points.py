"""Drawings of points: on the line as histograms, in the plane as dots, in more dimensions by pairs or projected.

The first cloud, which is the data if there is any, sets the frame for all; points outside it are counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.core.errors import UserError, shown
from undiffuse.draw.style import DATA, INK, MADE, PAPER, QUIET, colours, panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRED = 5  # columns shown pair by pair; more are projected
CROWD = 20_000  # from so many points on, a density is drawn instead of dots
LISTED = 10  # labels that are listed with their colours
NAME = 60  # characters of a name
TALL = 2.2  # the height of a histogram in inches

Frame = tuple[tuple[float, float], tuple[float, float]]  # ((left, right), (bottom, top))


@dataclass(frozen=True)
class Cloud:
    """Points with a title: ``x (count, columns)``, and their labels ``(count,)``, -1 for none, if they have any."""

    title: str
    x: Tensor
    labels: Tensor | None = None


@styled
def points(
    clouds: Sequence[Cloud],
    label_names: Sequence[str] = (),
    columns: Sequence[str] = (),
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> "Figure":
    """Clouds of the same columns beside each other: first the data, then samples.

    ``log_density (count, 1) -> (count,)`` is the true density on the line, if it is known.
    """
    clouds = [_shown(cloud) for cloud in clouds]
    dimensions = clouds[0].x.shape[1]
    if any(cloud.x.shape[1] != dimensions for cloud in clouds):
        raise UserError(f"clouds of different columns: {[cloud.x.shape[1] for cloud in clouds]}")
    names = [shown(name, NAME) for name in columns] or [f"column {k + 1}" for k in range(dimensions)]
    label_names = [shown(name, NAME) for name in label_names]
    if dimensions == 1:
        return _line(clouds, names if columns else [""], log_density)
    if dimensions == 2:
        return _plane(clouds, label_names, names if columns else ["", ""])
    if dimensions <= PAIRED:
        return _pairs(clouds, names)
    projected, axes_names = project(clouds)
    return _plane(projected, label_names, axes_names)


def project(clouds: Sequence[Cloud]) -> tuple[list[Cloud], list[str]]:
    """The clouds on the first one's two directions of most variance, columns standardised, and the axes' names."""
    x = clouds[0].x
    mean, std = x.mean(0), x.std(0)
    std = torch.where(std > 0, std, 1.0)
    _, values, directions = torch.linalg.svd((x - mean) / std, full_matrices=False)
    share = values.square() / values.square().sum()
    names = [f"principal component {k + 1} ({share[k]:.0%} of the variance)" for k in range(2)]
    return [replace(cloud, x=(cloud.x - mean) / std @ directions[:2].T) for cloud in clouds], names


def frame(x: Tensor, margin: float = 0.08) -> Frame:
    """Limits that hold nearly all of ``x (count, 2)``: from the 0.1% to the 99.9% quantile, and a margin."""
    low, high = x.nanquantile(0.001, dim=0), x.nanquantile(0.999, dim=0)
    extra = margin * (high - low).clamp(min=1e-6)
    (left, bottom), (right, top) = (low - extra).tolist(), (high + extra).tolist()
    return (left, right), (bottom, top)


def panel_size(limits: Frame, width: float = 4.2) -> tuple[float, float]:
    """The size of a panel in inches for a frame of equal units, including room for a title and numbers."""
    (left, right), (bottom, top) = limits
    return width, width * max(0.4, min(1.8, (top - bottom) / (right - left))) + 0.3


def outside(x: Tensor, limits: Sequence[tuple[float, float]]) -> int:
    """How many rows of ``x (count, columns)`` lie outside the limits of their columns, or are not finite."""
    low, high = torch.tensor(limits).T
    return int((~((x >= low) & (x <= high)).all(1)).sum())


def dots(axes: "Axes", x: Tensor, ink: str | list[str], limits: Frame, largest: float = 14.0) -> None:
    """``x (count, 2)`` as dots in a frame, smaller if there are more of them."""
    size = max(1.0, min(largest, 12000 / len(x)))
    alpha = max(0.45, min(0.85, 1500 / len(x)))
    axes.scatter(x[:, 0], x[:, 1], s=size, c=ink, alpha=alpha, linewidths=0)
    axes.set(xlim=limits[0], ylim=limits[1])


def _shown(cloud: Cloud) -> Cloud:
    return replace(cloud, title=shown(cloud.title, NAME), x=cloud.x.detach().cpu().float().flatten(1))


def _title(axes: "Axes", cloud: Cloud, limits: Sequence[tuple[float, float]]) -> None:
    lost = outside(cloud.x, limits)
    count = f"{len(cloud.x):,}" + (f", {lost:,} outside the frame" if lost else "")
    axes.set_title(cloud.title)
    axes.set_title(count, loc="right", fontsize=8, fontweight="normal", color=QUIET)


def _ink(cloud: Cloud, names: Sequence[str], first: bool) -> str | list[str]:
    """Colours by label, if there are labels; else grey for data beside samples, blue for samples."""
    if cloud.labels is None or not names:
        return DATA if first else MADE
    palette = [*colours(len(names)), QUIET]  # the last for -1
    return [palette[k] for k in cloud.labels.tolist()]


def _plane(clouds: Sequence[Cloud], label_names: Sequence[str], names: Sequence[str]) -> "Figure":
    limits = frame(clouds[0].x)
    figure, every = panels(len(clouds), size=panel_size(limits))
    for k, (axes, cloud) in enumerate(zip(every, clouds, strict=True)):
        _title(axes, cloud, limits)
        ink = _ink(cloud, label_names, first=k == 0 and len(clouds) > 1)
        if len(cloud.x) > CROWD and isinstance(ink, str):
            _density(axes, cloud.x, ink, limits)
        else:
            dots(axes, cloud.x, ink, limits)
        axes.set(xlabel=names[0], ylabel=names[1] if k == 0 else "")
        axes.set_aspect("equal")
        axes.locator_params(nbins=5)
    if 0 < len(label_names) <= LISTED and any(cloud.labels is not None for cloud in clouds):
        from matplotlib.lines import Line2D

        inks = zip(label_names, colours(len(label_names)), strict=True)
        keys = [Line2D([], [], color=ink, marker="o", linestyle="", markersize=4, label=name) for name, ink in inks]
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), handletextpad=0.1, columnspacing=1.2)
    return figure


def _density(axes: "Axes", x: Tensor, ink: str, limits: Frame, bins: int = 220) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    inside = x[x.isfinite().all(1)]
    counts = torch.histogramdd(inside, bins=[bins, bins], range=[*limits[0], *limits[1]]).hist
    shades = LinearSegmentedColormap.from_list("ink", [PAPER, ink, INK])
    axes.imshow(
        counts.T.sqrt().numpy(), origin="lower", extent=(*limits[0], *limits[1]), cmap=shades, interpolation="bilinear"
    )


def _line(clouds: Sequence[Cloud], names: Sequence[str], log_density: Callable[[Tensor], Tensor] | None) -> "Figure":
    (low, high), _ = frame(clouds[0].x.repeat(1, 2))
    figure, (axes,) = panels(size=(6.4, 3.2))
    overlaid(axes, [cloud.x[:, 0] for cloud in clouds], (low, high))
    for cloud, steps in zip(clouds, axes.patches, strict=True):
        steps.set_label(f"{cloud.title} ({len(cloud.x):,})")
    if log_density is not None:
        grid = torch.linspace(low, high, 2000)
        axes.plot(grid, log_density(grid[:, None]).exp(), color=INK, linewidth=1.1, label="the true density")
    axes.legend(loc="upper right")
    lost = [f"{n:,} of {c.title} outside" for c in clouds if (n := outside(c.x, [(low, high)]))]
    axes.set(xlabel="; ".join([*filter(None, names), *lost]), xlim=(low, high), yticks=[])
    axes.spines["left"].set_visible(False)
    return figure


def overlaid(axes: "Axes", every: Sequence[Tensor], limits: tuple[float, float]) -> None:
    """Histograms of ``(count,)`` each, one over the other: the first filled in grey, the rest outlined in blue."""
    bins = int(max(12, min(90, len(every[0]) ** 0.5)))
    for k, x in enumerate(every):
        data = k == 0 and len(every) > 1
        look = {"color": DATA, "alpha": 0.45} if data else {"edgecolor": MADE, "facecolor": MADE + "18"}
        density, edges = torch.histogram(x[x.isfinite()], bins=bins, range=limits, density=True)
        axes.stairs(density.numpy(), edges.numpy(), fill=True, linewidth=1.3, **look)


def _pairs(clouds: Sequence[Cloud], names: Sequence[str]) -> "Figure":
    """Below the diagonal every pair of columns, on it each column; samples over data."""
    size = len(names)
    figure, every = panels(size, size, size=(TALL, TALL))
    limits = [frame(clouds[0].x[:, [k, k]])[0] for k in range(size)]
    for index, axes in enumerate(every):
        row, column = divmod(index, size)
        if column > row:
            axes.set_axis_off()
            continue
        if column == row:
            overlaid(axes, [cloud.x[:, row] for cloud in clouds], limits[row])
            axes.set(xlim=limits[row], yticks=[])
            axes.spines["left"].set_visible(False)
        for k, cloud in enumerate(clouds if column < row else ()):
            ink = DATA if k == 0 and len(clouds) > 1 else MADE
            dots(axes, cloud.x[:, [column, row]], ink, (limits[column], limits[row]), largest=4.0)
        axes.set(xlabel=names[column] if row == size - 1 else "", ylabel=names[row] if column == 0 < row else "")
        axes.locator_params(nbins=4, axis="x")
    for k, cloud in enumerate(clouds):
        ink = DATA if k == 0 and len(clouds) > 1 else MADE
        lost = outside(cloud.x, limits)
        text = f"{cloud.title} ({len(cloud.x):,}" + (f", {lost:,} outside the frame)" if lost else ")")
        figure.text(0.98, 0.97 - 0.25 * k / size / TALL, text, ha="right", va="top", color=ink, fontweight="bold")
    return figure
