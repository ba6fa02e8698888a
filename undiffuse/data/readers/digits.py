"""Handwritten digits, 8 x 8: small enough to train on a laptop, and they come with scikit-learn."""

import torch

from undiffuse.condition.label import labelled
from undiffuse.data.dataset import Dataset


def digits(split: str = "train") -> Dataset:
    """1,797 pictures ``(count, 1, 8, 8)`` of ten labels (Alpaydin and Kaynak 1998, UCI "optdigits").

    The source counts ink from 0 to 16; here it is scaled to 0 to 255 and rounded, which loses nothing. The test
    split is one picture in five of every digit, 359 in all, always the same. (Both splits hold the same 13 writers:
    the bundle does not say who wrote what.)
    """
    from sklearn.datasets import load_digits

    bundle = load_digits()
    ink = torch.from_numpy(bundle.images).unsqueeze(1)
    pictures = (ink * (255 / 16)).round().to(torch.uint8)
    everything = Dataset(pictures, *labelled(torch.from_numpy(bundle.target).long()), kind="pictures", name="digits")
    return everything.part(split, fraction=0.2)
