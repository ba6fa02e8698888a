"""Is this picture a keyboard? The keys are read back from its pixels, and held against the octave.

Two profiles along the picture say it all. Low down, where there are only white keys, thin lines part them: their
middles must be evenly spaced. Further up, dark runs are the black keys: each lies on a line, all are of one width and
length, and which lines have one must be a window of

    C # D # E   F # G # A # B

Both are measured between the picture's own dark and light, and to a fraction of a pixel: the darkness in a run sums to
its width, and its centroid is its middle. Brightness, lighting, noise and a little blur leave the reading as it is, and
what the border cuts off is not held against a picture.

A mirrored keyboard is a keyboard: mirrored, the groups of two and three are the same groups.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from undiffuse.core.errors import UserError
from undiffuse.data.synthetic.piano import HAS_BLACK

# bands of rows, as shares of the height
UPPER = (0.25, 0.58)  # black keys and white ones
LOWER = (0.78, 0.92)  # white keys alone
BORDER = 1.5  # pixels from the border within which a line need not be seen

# shares of a white key's width
UNEVEN = 0.22  # by how much the distance of two lines may differ
NARROWEST, WIDEST = 0.38, 0.8  # of black keys
ASIDE = 0.29  # how far a black key's middle may be from its line
SPECK = 0.18  # what is less dark than a black key of this width is a line, or dirt
UNLIKE = 0.3  # by how much a black key's width may differ from the median, as a share of it
UNLIKE_LENGTH = 0.08  # and its length, as a share of the picture's height
FEWEST = 6  # lines: fewer do not show two groups


class Fault(IntEnum):
    """The first thing that is wrong with a keyboard."""

    NONE = 0
    BLANK = 1  # too little contrast, or too few keys, to be one
    UNEVEN = 2  # white keys of unlike width: one is missing, or doubled
    MISSHAPEN = 3  # a black key too wide, too narrow, too short or too faint
    MISPLACED = 4  # a black key that is not between two white ones, or two on one line
    GROUPS = 5  # black keys that are not in groups of two and three


class Reading(NamedTuple):
    """What was read from each picture."""

    fault: Tensor  # (count,) int64, a `Fault`
    first: Tensor  # (count,) int64, the first whole white key, 0 for C to 6 for B; -1 where there is a fault


def valid(x: Tensor) -> Tensor:
    """Whether each picture ``(count, channels, height, width)`` is a keyboard: ``(count,)`` bool. Raises as `read`."""
    return read(x).fault == Fault.NONE


def read(x: Tensor) -> Reading:
    """The keys of pictures ``(count, channels, height, width)``, 0 to 255, of any dtype.

    Raises UserError for other shapes, and pictures below 16 x 32 pixels.
    """
    if x.ndim != 4 or x.shape[2] < 16 or x.shape[3] < 32:
        raise UserError(
            "keyboards are read from pictures (count, channels, height, width) of at least 16 x 32 pixels, "
            f"not {tuple(x.shape)}"
        )
    grey = x.float().mean(1).cpu()
    parts = [_read(part) for part in grey.split(4096)]
    return Reading(*(torch.cat(column) for column in zip(*parts, strict=True)))


class _Lines(NamedTuple):
    """Where white keys meet: line k of a picture is at ``start + k spacing``."""

    start: Tensor  # (count,) pixels
    spacing: Tensor  # (count,)
    few: Tensor  # (count,) bool: too few of them
    uneven: Tensor  # (count,) bool


class _Blacks(NamedTuple):
    """The dark runs of each picture, from the left; (count, runs)."""

    there: Tensor  # bool: there is such a run, and it is no speck
    middle: Tensor  # pixels
    misshapen: Tensor  # bool


def _read(grey: Tensor) -> Reading:
    """`read` for ``grey (count, height, width)``."""
    width = grey.shape[2]
    shade, contrast = _shade(grey)
    lines = _lines(_band(shade, LOWER))
    blacks = _blacks(shade, lines.spacing)

    slots = int((width / lines.spacing.clamp(min=3)).max()) + 3  # slot 0 is the line before the first one seen
    slot = torch.arange(slots)
    near = (blacks.middle - lines.start[:, None]) / lines.spacing[:, None] + 1
    on = near.round().clamp(0, slots - 1).long()
    held = torch.zeros(len(grey), slots).scatter_add_(1, on, blacks.there.float())
    aside = blacks.there & ((near - on).abs() > ASIDE)

    place = lines.start[:, None] + (slot - 1) * lines.spacing[:, None]
    margin = 0.1 * lines.spacing[:, None]
    seen = (held > 0) | ((place > margin) & (place < width - margin))
    wrong = _against_octave(held > 0, seen)  # (count, 7)
    first = (wrong.int().argmin(1) - (place[:, 0] >= 0).long()) % 7

    fault = torch.zeros(len(grey), dtype=torch.int64)
    for kind, at in (
        (Fault.GROUPS, wrong.all(1)),
        (Fault.MISPLACED, aside.any(1) | (held > 1).any(1)),
        (Fault.MISSHAPEN, (blacks.there & blacks.misshapen).any(1)),
        (Fault.UNEVEN, lines.uneven),
        (Fault.BLANK, lines.few | (contrast < 0.15 * 255) | ~blacks.there.any(1)),
    ):
        fault[at] = int(kind)  # the first thing that is wrong is written last
    return Reading(fault, torch.where(fault == Fault.NONE, first, -1))


def _shade(grey: Tensor) -> tuple[Tensor, Tensor]:
    """How dark each pixel is, from 0 (its picture's light) to 1 (its dark); and light less dark, ``(count,)``."""
    height = grey.shape[1]
    keys = grey[:, round(UPPER[0] * height) : round(LOWER[1] * height)].flatten(1)
    dark, light = keys.quantile(torch.tensor([0.08, 0.85]), dim=1)
    contrast = (light - dark).clamp(min=1)
    return (light[:, None, None] - grey) / contrast[:, None, None], contrast


def _band(shade: Tensor, band: tuple[float, float]) -> Tensor:
    """The mean over a band of rows, ``(count, height, width) -> (count, width)``."""
    low, high = (round(share * shade.shape[1]) for share in band)
    return shade[:, low:high].mean(1)


def _lines(profile: Tensor) -> _Lines:
    """The thin dark lines of a profile ``(count, width)``."""
    width = profile.shape[1]
    dark = profile + F.max_pool1d(-profile, 7, 1, 3)  # than the lightest of three pixels each way
    middle = torch.arange(width) + 0.5
    beside = F.pad(dark, (1, 1)).unfold(1, 3, 1)  # (count, width, 3)
    mass = beside.sum(2)
    centre = middle + (beside[..., 2] - beside[..., 0]) / mass.clamp(min=1e-6)
    untied = dark + 1e-4 * torch.arange(width) / width  # of two equal ones, the right
    peak = (untied == F.max_pool1d(untied, 5, 1, 2)) & (mass > 0.2)
    peak &= (centre > BORDER) & (centre < width - BORDER)

    count = peak.sum(1)
    at = torch.where(peak, centre, torch.inf).sort(1).values
    last = at.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
    apart = at.diff(dim=1).nan_to_num(torch.nan, torch.nan)  # to inf, or between two: no line
    few = count < FEWEST
    start = torch.where(few, 0.0, at[:, 0])
    spacing = torch.where(few, float(width), (last - at[:, 0]) / (count - 1).clamp(min=1))
    steady = ((apart / spacing[:, None] - 1).abs() <= UNEVEN) | apart.isnan()
    to_border = torch.maximum(start, width - last)
    return _Lines(start, spacing, few, ~steady.all(1) | (to_border > (1 + UNEVEN) * spacing + BORDER))


def _blacks(shade: Tensor, spacing: Tensor) -> _Blacks:
    """The black keys of ``shade (count, height, width)``, where white ones are ``spacing (count,)`` apart."""
    count, height, width = shade.shape
    profile = _band(shade, UPPER)
    dark = profile > 0.3
    run = (dark & ~F.pad(dark, (1, 0))[:, :-1]).cumsum(1) - 1
    run, runs = torch.where(dark, run, width), width // 2 + 1
    run = run.clamp(max=runs)  # the last is a bin for what is in no run

    def total(values: Tensor) -> Tensor:
        """Over each run: ``(..., width) -> (..., runs)``, with ``run`` read across the dimensions between."""
        index = run.view(count, *[1] * (values.ndim - 2), width).expand_as(values)
        return values.new_zeros(*values.shape[:-1], runs + 1).scatter_add_(-1, index, values)[..., :-1]

    mass, column = total(profile), torch.arange(width)
    unit = spacing[:, None]
    there = mass > SPECK * unit
    cut_left = total((column == 0).expand(count, width).float()) > 0
    cut_right = total((column == width - 1).expand(count, width).float()) > 0
    whole = there & ~cut_left & ~cut_right
    usual = _median(mass, whole)
    middle = total(profile * (column + 0.5)) / mass.clamp(min=1e-6)
    middle = torch.where(cut_left, mass - usual / 2, torch.where(cut_right, width - mass + usual / 2, middle))

    core = (profile > 0.65).float()
    cores = total(core)
    rows = total(shade * core[:, None]) / cores.clamp(min=1)[:, None]  # (count, height, runs): how dark each row is
    low, high = (round(share * height) for share in UPPER)
    length = (rows[:, : round(LOWER[1] * height)] > 0.45).sum(1).float()
    usual_length = _median(length, whole)
    broken = (cores > 0) & (rows[:, low:high] < 0.4).any(1)
    odd = (mass < NARROWEST * unit) | ((mass - usual).abs() > UNLIKE * usual) | (cores == 0)
    odd |= rows[:, round(LOWER[0] * height) : round(LOWER[1] * height)].mean(1) > 0.5  # it has no end
    odd |= (length - usual_length).abs() > UNLIKE_LENGTH * height
    too_wide = mass > torch.minimum(WIDEST * unit, (1 + UNLIKE) * usual)  # also where the border cuts it
    return _Blacks(there, middle, (whole & odd) | too_wide | broken)


def _median(values: Tensor, where: Tensor) -> Tensor:
    """Of the ``values (count, k)`` named, ``(count, 1)``; 0 where there are none."""
    return torch.where(where, values, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(0.0)


def _against_octave(held: Tensor, seen: Tensor) -> Tensor:
    """Whether black keys contradict each name of line 1: ``held``, ``seen (count, slots)`` -> ``(count, 7)`` bool."""
    slot = torch.arange(held.shape[1])
    octave = torch.tensor(HAS_BLACK)[(torch.arange(7)[:, None] + slot - 1) % 7]  # (7, slots)
    return (seen[:, None] & (held[:, None] != octave)).any(2)
