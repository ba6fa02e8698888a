"""Drawing scenes: the share of each pixel that a thing covers, from its signed distance; then textures and grounds.

    cover = clamp(1/2 - distance(pixel's middle) side, 0, 1)

so edges are antialiased at any side, and a scene looks alike at 16, 32 and 64 pixels. A texture is a square wave, whose
mean over a pixel is exact. Things are saturated colours and grounds are grey, so that they can be told apart again.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from undiffuse.data.synthetic.shapes.scene import MOST, SHAPES, TEXTURES, Scenes

PALETTE = torch.tensor(  # of `COLOURS`
    [
        (0.88, 0.12, 0.12),
        (0.95, 0.50, 0.08),
        (0.93, 0.87, 0.10),
        (0.12, 0.66, 0.20),
        (0.12, 0.30, 0.90),
        (0.60, 0.15, 0.75),
    ]
)
GREYS = torch.tensor((0.94, 0.5, 0.06))  # of `GROUNDS`
DARK = 0.45  # how bright the dark half of a texture is
PERIOD = 0.125  # of a texture, in sides
CHUNK = 512  # pictures drawn at once: what a cache holds


def draw(scenes: Scenes, side: int) -> Tensor:
    """Pictures (count, 3, side, side), uint8."""
    return torch.cat([_drawn(scenes[k : k + CHUNK], side) for k in range(0, len(scenes), CHUNK)])


def distance(shape: str, u: Tensor, v: Tensor) -> Tensor:
    """The signed distance to a shape's outline in its radii, negative inside; u and v from its middle, v down."""
    if shape == "circle":
        return (u * u + v * v).sqrt() - 1
    if shape == "square":
        return torch.maximum(u.abs(), v.abs()) - 0.88
    if shape == "triangle":  # from (0, -1) to (-1, .85) and (1, .85)
        slant = (u.abs() * 1.85 - v - 1) / (1 + 1.85**2) ** 0.5
        return torch.maximum(slant, v - 0.85)
    bar = torch.maximum(u.abs() - 0.38, v.abs() - 1)
    return torch.minimum(bar, torch.maximum(u.abs() - 1, v.abs() - 0.38))


def cover(shape: str, centre: Tensor, radius: Tensor, side: int) -> Tensor:
    """The share of each pixel, (count, side, side), that shapes with middles (count, 2) and radii (count,) cover."""
    pixel = (torch.arange(side) + 0.5) / side
    u = ((pixel - centre[:, :1]) / radius[:, None])[:, None, :]
    v = ((pixel - centre[:, 1:]) / radius[:, None])[:, :, None]
    return (0.5 - distance(shape, u, v) * (side * radius)[:, None, None]).clamp(0, 1)


def _drawn(scenes: Scenes, side: int) -> Tensor:
    rough = F.interpolate(scenes.grain[:, None], size=(side, side), mode="bicubic", align_corners=False)
    canvas = ((GREYS[scenes.ground] + scenes.tone)[:, None, None, None] + rough).expand(-1, 3, -1, -1).clone()
    for k in reversed(range(MOST)):  # the first last: it may lie inside the second
        colour = PALETTE[scenes.colour[:, k]] + scenes.tint[:, k]
        shade = 1 - (1 - DARK) * _texture(scenes.texture[:, k], scenes.centre[:, k], scenes.phase[:, k], side)
        share = torch.empty(len(scenes), side, side)
        for s, shape in enumerate(SHAPES):
            rows = scenes.shape[:, k] == s
            share[rows] = cover(shape, scenes.centre[rows, k], scenes.radius[rows, k], side)
        share *= (k < scenes.things)[:, None, None]
        canvas.lerp_(colour[:, :, None, None] * shade[:, None], share[:, None])
    return canvas.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _texture(texture: Tensor, centre: Tensor, phase: Tensor, side: int) -> Tensor:
    """How dark each pixel is, from 0 to 1, (count, side, side)."""
    across, down = (_wave(phase[:, k] - centre[:, k] / PERIOD, side) for k in (0, 1))
    across, down = across[:, None, :], down[:, :, None]
    striped, checked = (texture == TEXTURES.index(name) for name in ("striped", "checked"))
    checks = across + down - 2 * across * down
    return down * striped[:, None, None] + checks * checked[:, None, None]


def _wave(phase: Tensor, side: int) -> Tensor:
    """The mean over each pixel of a square wave of 0 and 1, (count, side)."""
    edge = torch.arange(side + 1) / side / PERIOD + phase[:, None]
    total = edge.floor() / 2 + (edge - edge.floor()).clamp(max=0.5)
    return total.diff(dim=1) * side * PERIOD
