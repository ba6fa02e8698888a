"""Inception's features, in which FID and KID are published: by torch-fidelity, with the FID paper's own weights.

The distances themselves are our own (`frechet`, `kid`, `manifold`), on these features instead of the judge's. Pictures
are resized as TensorFlow did it, inside torch-fidelity: another resizing changes FID by more than models differ (Parmar
et al. 2022). With few samples FID is biased upwards: compare only at equal counts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from undiffuse.core.errors import UserError

CHUNK = 64
FEATURES = "2048"
MISSING = (
    "Inception's features need torch-fidelity and torchvision: pip install 'undiffuse[fidelity]'; without them, leave "
    "--features at judge, which measures with a classifier of the data at hand"
)


def inception_features(weights: str | None = None, device: str | torch.device = "cpu") -> Callable[[Tensor], Tensor]:
    """A function from pictures (n, 1 or 3, height, width) of 0 to 255 to features (n, 2048), float32 on the CPU.

    Args:
        weights: A file of torch-fidelity's weights; None lets it download and keep them.
        device: Where to compute.

    Raises:
        UserError: torch-fidelity is not installed, or its weights cannot be loaded.
    """
    return extractor_features(_extractor(weights), device)


def extractor_features(extractor: Any, device: str | torch.device = "cpu") -> Callable[[Tensor], Tensor]:
    """The same for any of torch-fidelity's feature extractors: they take uint8 (n, 3, height, width), and return a
    tuple."""
    extractor = extractor.to(device).eval()

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise UserError(f"Inception sees pictures of 1 or 3 channels, not data of shape {tuple(x.shape[1:])}")
        chunks = (chunk.to(device).round().to(torch.uint8).expand(-1, 3, -1, -1) for chunk in x.split(CHUNK))
        return torch.cat([extractor(chunk.contiguous())[0].float().cpu() for chunk in chunks])

    return features


def _extractor(weights: str | None) -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise UserError(MISSING) from None
    try:
        return FeatureExtractorInceptionV3("inception-v3-compat", [FEATURES], feature_extractor_weights_path=weights)
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        raise UserError(
            f"Inception's weights cannot be loaded ({str(error).splitlines()[0]}); download "
            "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases on GitHub into "
            "~/.cache/torch/hub/checkpoints"
        ) from None
