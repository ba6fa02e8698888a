"""The style of all drawings: dark ink on white paper, grey for data, blue for samples, no decoration.

Figures are built without pyplot: no global state, no window, safe in threads and on machines without a screen.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from undiffuse.core.files import write_atomically
from undiffuse.core.origin import KEY, origin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

P = ParamSpec("P")
R = TypeVar("R")

PAPER, INK, QUIET, FAINT = "#ffffff", "#20262e", "#6d7681", "#dfe3e8"
DATA, MADE = "#848e9a", "#1f6fa8"
COLOURS = ("#1f6fa8", "#d1495b", "#2e8b57", "#e09f3e", "#7b5ea7", "#3aa6b9", "#b5651d", "#c76b98")
DPI = 160

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names may have dollars
    "figure.facecolor": PAPER,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "axes.edgecolor": QUIET,
    "axes.facecolor": PAPER,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function that draws, which then uses this style; ticks and texts are styled when they are created."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return in_style


@styled
def panels(columns: int = 1, rows: int = 1, size: tuple[float, float] = (4.0, 4.0)) -> "tuple[Figure, list[Axes]]":
    """An empty figure of ``rows`` x ``columns`` panels, each ``size`` inches, in reading order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@styled
def save(figure: "Figure", path: str | Path) -> None:
    """Writes the figure in the format of its suffix (.png, .svg, .pdf), whole or not at all."""
    ending = Path(path).suffix.removeprefix(".") or "png"
    metadata = {KEY: origin()} if ending == "png" and origin() else None
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=ending, metadata=metadata))


@styled
def picture(figure: "Figure") -> "Image":
    """The figure as an RGB picture, for films."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def font(size: int, face: str = "DejaVuSans") -> "FreeTypeFont":
    """The same letters as in the figures, for captions drawn on pictures; ``size`` in pixels."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf", size)


def colours(count: int) -> list[str]:
    """``count`` distinct colours: eight chosen ones, then hues around the colour circle."""
    import matplotlib
    from matplotlib.colors import to_hex

    if count <= len(COLOURS):
        return list(COLOURS[:count])
    rainbow = matplotlib.colormaps["turbo"]
    walk = (rainbow(0.04 + 0.92 * k / (count - 1)) for k in range(count))
    return [to_hex((0.85 * red, 0.85 * green, 0.85 * blue)) for red, green, blue, _ in walk]


def name_ends(axes: "Axes", names: Sequence[str], ends: Sequence[tuple[float, float]], inks: Sequence[str]) -> None:
    """Each curve's name at its end, in its own ink, moved apart where the names would touch; no legend to look up.

    Call it when the limits are final.
    """
    line = 1.25 * 8 * DPI / 72  # pixels a line of text needs
    to_pixels, fraction = axes.transData.transform, axes.transAxes.inverted().transform
    heights = [float(fraction(to_pixels(end))[1]) for end in ends]
    box = axes.get_window_extent()
    gap = line / box.height
    order = sorted(range(len(ends)), key=lambda k: heights[k])
    placed = spread([heights[k] for k in order], gap)
    for k, height in zip(order, placed, strict=True):
        axes.annotate(
            names[k],
            xy=(1.0, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            color=inks[k],
            va="center",
            fontsize=8,
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Rising ``heights``, moved as little as possible so that neighbours lie at least ``gap`` apart.

    Least squares: of heights less k gaps, the nearest rising sequence, by pooling neighbours that fall.
    """
    pools: list[tuple[float, int]] = []  # mean, how many
    for k, height in enumerate(heights):
        mean, count = height - k * gap, 1
        while pools and pools[-1][0] >= mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [height + k * gap for k, height in enumerate(flat)]
