"""What the gallery's scripts share: where pictures are kept, the time of a noise level, a plain training loop."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from undiffuse.core.files import write_atomically
from undiffuse.draw.style import picture
from undiffuse.process import Affine

GALLERY = Path("docs/gallery")  # from the root of the repository, where these scripts are run
INKS = 200  # colours a picture: lines and dots need no more, and the repository stays light


def keep(figure: Figure, path: Path) -> None:
    few = picture(figure).quantize(INKS, dither=Image.Dither.NONE)
    write_atomically(path, lambda temporary: few.save(temporary, "PNG", optimize=True))


def time_of(process: Affine, sigma: float) -> float:
    """The t at which sigma(t)/alpha(t) is ``sigma``."""
    return float(process.schedule.time(torch.tensor(-2 * math.log(sigma), dtype=torch.float64)))


def fit(
    net: nn.Module, loss: Callable[[Tensor], Tensor], data: Tensor, steps: int, rate: float = 2e-3, batch: int = 256
) -> None:
    """Adam on ``loss(rows) -> (batch,)`` over rows drawn with replacement, the learning rate falling along a cosine."""
    optimizer = torch.optim.Adam(net.parameters(), rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(data[torch.randint(len(data), (batch,))]).mean().backward()
        optimizer.step()
        decay.step()
    net.eval()
