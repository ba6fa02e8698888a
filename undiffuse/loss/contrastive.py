"""The contrastive loss: of the pictures and texts of a batch, which belong together?

    L = (-log softmax_j(s u_i . v_j)_i - log softmax_j(s u_j . v_i)_i)/2

u, v are the unit vectors of pictures and texts, s the inverse temperature. Both directions of InfoNCE (van den Oord et
al. 2018), as CLIP adds them (Radford et al. 2021, figure 3). Of n pairs that cannot be told apart, the loss is log n.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.contrastive import PictureTextModel
from undiffuse.loss.loss import Loss


@dataclass(frozen=True)
class Contrastive(Loss[PictureTextModel]):
    """Which text belongs to which picture of a batch, and which picture to which text."""

    def __call__(
        self, model: PictureTextModel, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,). Raises UserError for pictures without texts."""
        if conditions is None:
            raise UserError("a model of pictures and texts needs pictures with captions")
        pictures, texts = model.of_pictures(x_0), model.of_texts(conditions)
        alike = model.scale * pictures @ texts.T
        own = torch.arange(len(alike), device=alike.device)
        both = (F.cross_entropy(each, own, reduction="none") for each in (alike, alike.T))
        return 0.5 * sum(both, torch.zeros_like(alike[0]))
