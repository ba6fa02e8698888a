"""A vector field in the plane: a score, or where a denoiser moves each point."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.draw.points import Frame, dots
from undiffuse.draw.style import DATA, MADE, panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Vectors = Callable[[Tensor], Tensor]  # (count, 2) -> (count, 2)


@styled
def field(
    vectors: Vectors,
    frame: Frame,
    title: str = "",
    data: Tensor | None = None,
    arrows: int = 24,
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> "Figure":
    """``vectors`` over ``frame``, with the ``data (count, 2)`` behind it, or the level lines of a log-density."""
    figure, (axes,) = panels(size=(4.4, 4.4))
    draw_field(axes, vectors, frame, data, arrows, log_density)
    axes.set_title(title)
    return figure


@styled
def draw_field(
    axes: "Axes",
    vectors: Vectors,
    frame: Frame,
    data: Tensor | None = None,
    arrows: int = 24,
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """The same on given axes, for several fields beside each other.

    Arrows are as long as their vectors, up to a length at which they would cover each other.
    """
    if log_density is not None:
        x = plane(frame, 200)
        level = log_density(x).reshape(200, 200)
        lines = level.max() - torch.tensor([12.0, 8.0, 5.0, 3.0, 1.5, 0.5])
        axes.contour(*x.T.reshape(2, 200, 200), level, levels=lines.tolist(), colors=DATA, linewidths=0.7, alpha=0.7)
    if data is not None:
        dots(axes, data, DATA, frame)
    x = plane(frame, arrows)
    with torch.no_grad():
        v = vectors(x)
    length = v.norm(dim=1, keepdim=True)
    cell = (frame[0][1] - frame[0][0]) / (arrows - 1)
    typical = length.median().clamp(min=1e-12)
    v = v * (1.5 * cell / typical) * (typical / length.clamp(min=1e-12)).clamp(max=1)
    axes.quiver(*x.T, *v.T, color=MADE, angles="xy", scale_units="xy", scale=2.0, width=0.0036, pivot="mid", zorder=3)
    axes.set(xlim=frame[0], ylim=frame[1], aspect="equal")


def plane(frame: Frame, side: int) -> Tensor:
    """A regular ``side`` x ``side`` lattice over the frame, row by row from the bottom: (side^2, 2)."""
    across, up = (torch.linspace(low, high, side) for low, high in frame)
    return torch.cartesian_prod(up, across).flip(1)
