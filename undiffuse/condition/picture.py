"""A picture as a condition: what is enlarged, completed or coloured in, given beside x.

    values    (batch, channels, height, width) float32, about [-1, 1]

With ``noise`` they have a channel more, its level (`undiffuse.condition.low`); those that diffuse with x have as many
more, the noise itself (`undiffuse.condition.diffused`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.conditions import Entry
from undiffuse.condition.diffused import beside_zeros, check_speed
from undiffuse.core.errors import UserError


@dataclass(frozen=True)
class Picture:
    """A picture of ``size`` (channels, height, width) beside x, scaled to the height and width of x.

    ``noise`` is above 0 if it is given with noise: conditioning augmentation (Ho et al. 2022, section 4.2; Saharia et
    al. 2022, section 2.4). The network is then told the noise level s as one more channel, equal in every pixel. In
    training, s is random in [0, ``noise``]; in sampling it is chosen (`undiffuse.condition.low`). Such a picture is
    never dropped: it is what is enlarged.

    ``speed`` is above 0 if it diffuses with x, so many times as fast (`undiffuse.condition.diffused`).
    """

    size: tuple[int, int, int]
    noise: float = 0.0
    speed: float = 0.0
    dtype: ClassVar[torch.dtype] = torch.float32

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise UserError("a picture has at least 1 channel, row and column")
        if not 0 <= self.noise <= 1:
            raise UserError(f"the noise of a picture is from 0 to 1, not {self.noise:g}")
        check_speed(self.speed)
        if self.noise and self.speed:
            raise UserError("a picture has noise of a level of its own, or diffuses with x; leave noise or speed out")

    @property
    def channels(self) -> int:
        """That a network sees."""
        return self.size[0] + (self.noise > 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value."""
        return (self.channels * (1 + (self.speed > 0)), *self.size[1:])

    def entry(self, x: Tensor) -> Entry:
        """Pictures (count, *size), bytes or numbers, as the entry of a batch: without noise."""
        values = x / 127.5 - 1 if x.dtype == torch.uint8 else x.float()
        if self.noise:
            values = torch.cat([values, torch.zeros_like(values[:, :1])], 1)
        return Entry(beside_zeros(values, self.speed), torch.ones(len(x), dtype=torch.bool, device=x.device))

    def read(self, said: Any, name: str) -> Tensor:
        """A tensor of this size, bytes or about [-1, 1]. Raises UserError for anything else."""
        picture = torch.as_tensor([] if isinstance(said, str) else said)
        if picture.shape != self.size or not picture.isfinite().all():
            raise UserError(f"{name} is a picture {self.size} of finite numbers, not {tuple(picture.shape)}")
        return self.entry(picture[None]).values[0]

    def say(self, value: Tensor) -> str:
        """Its size."""
        return "a picture of {} x {} x {}".format(*self.size)

    def written(self, entry: Entry) -> np.ndarray:
        """As they are, (batch, *size); NaN where they are absent."""
        return entry._replace(values=entry.values[:, : self.size[0]]).or_nan()

    def wrong(self, values: Tensor) -> str | None:
        """What is wrong with values (batch, *shape), if anything."""
        return None if values.isfinite().all() else "holds NaN or infinite numbers"
