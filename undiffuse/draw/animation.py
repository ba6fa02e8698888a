"""Films of sampling, from noise to data: one frame for each state, with the step written above.

    write_film(film_of_points(states, data), "film.gif", count)

A state is the samples at one step and the text above them. The last frame is shown longer. Frames are written one by
one.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.files import write_atomically
from undiffuse.core.origin import origin
from undiffuse.draw.pictures import pictures
from undiffuse.draw.points import Cloud, dots, frame, overlaid, panel_size, project
from undiffuse.draw.style import FAINT, INK, MADE, PAPER, QUIET, colours, font, panels, picture, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

LONGEST = 90  # frames of a film: seven seconds
TICK = 80  # milliseconds a frame; GIF counts in tens
HELD = 20  # how many frames long the last one is shown
SHADES = 64  # colours of a frame: enough for dots and greys, with small files
SIDE = 560  # the width of a film of pictures in pixels, about


class Frame(NamedTuple):
    """The content of a frame."""

    x: Tensor  # (count, *shape), decoded
    step: str  # "step 3 of 20"
    level: str  # "noise 37%"


def frames_to_show(count: int, at_most: int = LONGEST) -> list[int]:
    """Which of ``count`` states to show: all, or ``at_most`` evenly spaced ones with the first and the last."""
    if count <= at_most:
        return list(range(count))
    return [round(k * (count - 1) / (at_most - 1)) for k in range(at_most)]


def film_of_points(
    states: Iterable[Frame], data: Cloud, labels: Tensor | None = None, label_names: Sequence[str] = ()
) -> "Iterator[Image]":
    """A film of points ``(count, columns)``, with the data in pale grey behind them."""
    for state in states:
        data_cloud, cloud = (Cloud(c.title, c.x.cpu().float(), c.labels) for c in (data, Cloud("", state.x, labels)))
        yield picture(_frame(data_cloud, cloud, state, label_names))


def film_of_pictures(states: Iterable[Frame], captions: Sequence[str] = ()) -> "Iterator[Image]":
    """A film of pictures ``(count, channels, height, width)``, all on one sheet."""
    from PIL import Image, ImageDraw

    size = 15
    for state in states:
        sheet = pictures(state.x, captions, width=SIDE)
        page = Image.new("RGB", (max(sheet.width, 260), sheet.height + 2 * size), PAPER)
        page.paste(sheet, ((page.width - sheet.width) // 2, 2 * size))
        pen = ImageDraw.Draw(page)
        pen.text((8, 8), state.step, fill=INK, font=font(size))
        pen.text((page.width - 8, 8), state.level, fill=QUIET, font=font(size), anchor="ra")
        yield page


def write_film(frames: "Iterable[Image]", path: str | Path, count: int, held: Collection[int] = ()) -> None:
    """Writes ``count`` frames as an endless GIF, whole or not at all; the last and those in ``held`` are shown
    longer."""
    from PIL import Image

    if count < 1:
        raise UserError("a film needs at least one frame")

    def write(temporary: Path) -> None:
        few = (page.quantize(SHADES, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE) for page in frames)
        first = next(few)
        durations = [TICK * HELD if k in {*held, count - 1} else TICK for k in range(count)]
        how = {"append_images": few, "duration": durations, "loop": 0, "optimize": False, "comment": origin()}
        first.save(temporary, "GIF", save_all=True, **how)

    write_atomically(path, write)


@styled
def _frame(data: Cloud, cloud: Cloud, state: Frame, label_names: Sequence[str]) -> "Figure":
    """One frame of points: on the line, in the plane, or along the data's two directions of most variance."""
    if data.x.shape[1] > 2:
        (data, cloud), _ = project([data, cloud])
    if data.x.shape[1] == 1:
        figure, (axes,) = panels(size=(4.4, 2.8))
        limits = frame(data.x.repeat(1, 2))[0]
        overlaid(axes, [data.x[:, 0], cloud.x[:, 0]], limits)
        axes.set(xlim=limits)
    else:
        both = frame(data.x, margin=0.2)
        figure, (axes,) = panels(size=panel_size(both, width=3.4))
        dots(axes, data.x, FAINT, both)
        palette = [*colours(len(label_names)), QUIET]
        dots(axes, cloud.x, MADE if cloud.labels is None else [palette[k] for k in cloud.labels.tolist()], both)
        axes.set_aspect("equal")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(state.step)
    axes.set_title(state.level, loc="right", fontsize=9, fontweight="normal", color=QUIET)
    return figure
