"""Reading a picture back, without a network: which things it shows, and on which ground.

    things      coloured regions on grey: a pixel has the colour of the nearest hue in the palette, if that of its
                neighbours; else (at an edge, where two colours mix) that of the nearest pixel that is sure of its own
    shape       the drawing of a shape (`draw.cover`), moved and scaled a little, that lies nearest to the region
    size        that drawing's radius
    texture     how much the brightness inside varies, and how much of that goes by rows
    ground      the median grey of what is not coloured

A region that no shape fits has the shape None; what is too small for a thing is left out.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from undiffuse.data.synthetic.shapes.caption import Caption
from undiffuse.data.synthetic.shapes.draw import GREYS, PALETTE, cover
from undiffuse.data.synthetic.shapes.facts import Fact, facts
from undiffuse.data.synthetic.shapes.scene import COLOURS, GROUNDS, RADII, SHAPES, SIZES, Thing

COLOURED = 0.16  # the least difference between the largest and the smallest of red, green and blue
SURE = 5  # of the 9 pixels around one, how many must be of its colour
SMALLEST = 0.45  # of the area of the smallest triangle: what is smaller is no thing
FITS = 0.38  # the most of its area by which a region may differ from the drawing of its shape
LARGE = (RADII[0][1] + RADII[1][0]) / 2  # the radius from which a thing is large
VARIES, BY_ROWS = 0.13, 0.55  # of brightness: the deviation of a texture, and the share of rows in that of stripes
MOST = 5  # things that are looked at, the largest first


class SceneRead(NamedTuple):
    """What one picture shows."""

    things: tuple[Thing, ...]
    ground: str


def read(x: Tensor) -> list[SceneRead]:
    """What each of the pictures (count, 3, side, side) uint8 shows."""
    return [_read(picture) for picture in x.permute(0, 2, 3, 1).double().div(255).numpy()]


def check(x: Tensor, captions: Sequence[str]) -> list[list[Fact]]:
    """The facts of each caption, and whether its picture shows them. Raises UserError for captions not understood."""
    said = {text: Caption.read(text) for text in set(captions)}
    return [facts(said[text], *found) for text, found in zip(captions, read(x), strict=True)]


def _read(picture: np.ndarray) -> SceneRead:
    side = len(picture)
    chroma = picture.max(2) - picture.min(2)
    there = chroma > COLOURED
    grey = np.median(picture[~there].mean(1)) if not there.all() else 0.5
    hue = _coloured(picture, there)
    least = SMALLEST * 1.7 * (RADII[0][0] * side) ** 2
    regions = [region for k in range(len(COLOURS)) for region in _regions(hue == k, least)]
    regions.sort(key=lambda region: -region.sum())
    things = tuple(_thing(picture, chroma, hue, region) for region in regions[:MOST])
    return SceneRead(things, GROUNDS[int(np.abs(GREYS.numpy() - grey).argmin())])


def _coloured(picture: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The index of each pixel's colour, -1 for the ground."""
    angles = np.abs((_angle(picture)[..., None] - _hues() + np.pi) % (2 * np.pi) - np.pi)
    nearest = np.where(there, angles.argmin(2), -1)
    alike = np.stack([ndimage.uniform_filter((nearest == k).astype(float), 3) for k in range(len(COLOURS))], 2)
    votes = np.take_along_axis(alike, nearest.clip(0)[..., None], 2)[..., 0]
    sure = there & (votes > (SURE - 0.5) / 9)
    if not sure.any():
        return nearest
    where = ndimage.distance_transform_edt(~sure, return_distances=False, return_indices=True)
    return np.where(there, nearest[tuple(where)], -1)


def _angle(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(rgb, -1, 0)
    angle: np.ndarray = np.arctan2(3**0.5 * (green - blue), 2 * red - green - blue)
    return angle


@cache
def _hues() -> np.ndarray:
    return _angle(PALETTE.double().numpy())


def _regions(mask: np.ndarray, least: float) -> Iterator[np.ndarray]:
    """The connected parts of a mask, of at least so many pixels."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    return (labels == k for k in range(1, count + 1) if sizes[k] >= least)


def _thing(picture: np.ndarray, chroma: np.ndarray, hue: np.ndarray, region: np.ndarray) -> Thing:
    colour = COLOURS[int(np.median(hue[region]))]
    share = _share(picture, chroma, region)
    (x, y), radius, shape, error = _fitted(share)
    return Thing(
        shape if error < FITS else None,
        colour,
        SIZES[int(radius >= LARGE)],
        _texture(picture.max(2), ndimage.binary_erosion(region)),
        x,
        y,
        radius,
    )


def _share(picture: np.ndarray, chroma: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The share of each pixel that a region covers: at its edge, by how far its colour is from that around it."""
    whole = ndimage.binary_fill_holes(region)
    inner, near = ndimage.binary_erosion(whole), ndimage.binary_dilation(whole)
    around = ndimage.binary_dilation(near, np.ones((3, 3), bool)) & ~near
    if np.median(chroma[around]) > COLOURED:  # inside of another thing
        there, own = (np.median(picture[part], 0) for part in (around, inner if inner.any() else whole))
        along = (picture - there) @ (own - there) / ((own - there) ** 2).sum()
        return np.clip(along, 0, 1) * near
    full = np.quantile(chroma[region], 0.9)
    return np.where(inner, 1.0, np.clip(chroma / full, 0, 1) * near)


def _fitted(share: np.ndarray) -> tuple[tuple[float, float], float, str, float]:
    """The drawing that lies nearest to a region: its middle and radius, its shape, and by how much of its area it
    differs."""
    side, (down, across) = len(share), np.nonzero(share)
    top, left = max(down.min() - 2, 0), max(across.min() - 2, 0)
    crop = max(down.max() - top, across.max() - left) + 3  # what is nearby: the rest is empty
    part = torch.zeros(crop, crop)
    seen = torch.from_numpy(share[top : top + crop, left : left + crop])
    part[: seen.shape[0], : seen.shape[1]] = seen
    area, pixel = float(part.sum()), (torch.arange(crop) + 0.5) / crop
    x, y = float((part.sum(0) * pixel).sum() / area), float((part.sum(1) * pixel).sum() / area)
    found, (moves, scales) = [], _grid()
    for shape, (size, sink) in _moments().items():
        radius = (area / size) ** 0.5 / crop * scales
        centre = torch.tensor([x, y]) + moves * 0.5 / crop
        centre[:, 1] -= sink * radius
        errors = (cover(shape, centre, radius, crop) - part).abs().sum((1, 2)) / area
        best = int(errors.argmin())
        found.append((float(errors[best]), shape, centre[best].tolist(), float(radius[best])))
    error, shape, (x, y), radius = min(found, key=lambda one: one[0])
    return ((x * crop + int(left)) / side, (y * crop + int(top)) / side), radius * crop / side, shape, error


@cache
def _grid() -> tuple[Tensor, Tensor]:
    """Small moves (27, 2), in half pixels, and changes of the radius (27,)."""
    step = torch.tensor([-1.0, 0.0, 1.0])
    every = torch.cartesian_prod(step, step, step)
    return every[:, :2], 1 + 0.05 * every[:, 2]


@cache
def _moments() -> dict[str, tuple[float, float]]:
    """Each shape's area in squared radii, and how many radii below the middle its centroid lies."""
    side, found = 256, {}
    for shape in SHAPES:
        drawn = cover(shape, torch.tensor([[0.5, 0.5]]), torch.tensor([0.25]), side)[0].double()
        down = ((torch.arange(side) + 0.5) / side - 0.5) / 0.25
        found[shape] = (float(drawn.sum()) / (0.25 * side) ** 2, float((drawn.sum(1) * down).sum() / drawn.sum()))
    return found


def _texture(brightness: np.ndarray, inside: np.ndarray) -> str | None:
    """Plain, striped or checked; None where too little is seen."""
    values = brightness[inside]
    if len(values) < 4:
        return None
    values = values / values.max()
    if values.std() < VARIES:
        return "plain"
    rows = np.nonzero(inside)[0]
    means = np.bincount(rows, values) / np.maximum(np.bincount(rows), 1)
    return "striped" if means[rows].var() > BY_ROWS * values.var() else "checked"
