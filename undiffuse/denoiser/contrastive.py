"""Pictures and texts as vectors that are near where they belong together: CLIP in small.

    model.of_pictures(x), model.of_texts(conditions)      unit vectors, (batch, dimensions) each

Any network of pictures reads them: its output is averaged over the pixels, and one linear layer reads the average. The
text is read as in a text-to-picture model, by the encoder of conditions. After Radford et al. 2021, "Learning
transferable visual models from natural language supervision", section 2.3.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Encoder
from undiffuse.process.affine import Affine

HOTTEST = 100.0  # the largest inverse temperature
FIRST = 1 / 0.07
NO_NOISE = 20.0  # log-SNR of the pictures that it is given


class PictureTextModel(nn.Module):
    """Unit vectors of pictures and of texts.

    Args:
        net: net(x, routes) -> features (batch, ``features``, height, width).
        features: How many.
        dimensions: Of a vector.
        process: Of the schedule that a recipe names; the model is given no noise.
        level: The encoder of the noise level, for the network.
        encoder: The encoder of the text.
    """

    learned_variance = False  # of a step; see `denoiser.gaussian`
    jumps: tuple[str, ...] = ()  # see `denoiser.flow_map`

    def __init__(
        self, net: nn.Module, features: int, dimensions: int, process: Affine, level: Encoder, encoder: Encoder
    ) -> None:
        super().__init__()
        self.net, self.level, self.encoder, self.process, self.dimensions = net, level, encoder, process, dimensions
        self.read = nn.Linear(features, dimensions)
        self.said = nn.Linear(encoder.width, dimensions)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST)))

    @property
    def scale(self) -> Tensor:
        """The inverse temperature of the similarities, (), learned and at most `HOTTEST`."""
        return self.log_scale.exp().clamp(max=HOTTEST)

    def of_pictures(self, x: Tensor) -> Tensor:
        """Unit vectors (batch, dimensions) of pictures x (batch, *shape) as they are standardised."""
        seen = F.silu(self.net(x, self.level(torch.tensor(NO_NOISE, device=x.device))))
        return F.normalize(self.read(seen.flatten(2).mean(2)).float(), dim=1)

    def of_texts(self, conditions: Conditions) -> Tensor:
        """Unit vectors (batch, dimensions) of the text among conditions."""
        device = next(self.parameters()).device
        routes = self.encoder(torch.tensor(NO_NOISE, device=device), conditions)
        return F.normalize(self.said(cast(Tensor, routes.vector)).float(), dim=1)
