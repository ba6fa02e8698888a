"""Pictures through Hugging Face's `datasets`: from the hub, from a folder that it saved, or from parquet files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from undiffuse.data.array import from_array, index_labels
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.pictures import fitted
from undiffuse.errors import UserError, nearest

if TYPE_CHECKING:
    import datasets

LABELS = ("label", "labels", "class", "category", "fine_label")  # columns, where none is of class labels
TEST = ("test", "validation", "val")  # splits


def hub(
    name: str,
    size: int | tuple[int, int] | None = None,
    image: str | None = None,
    label: str | None = None,
    split: str = "train",
) -> Dataset:
    """Pictures (count, channels, height, width) and labels of a data set of the hub, or of a path.

    Args:
        name: ``"user/name"`` on the hub; a folder of ``save_to_disk``, or of parquet files; a parquet file.
        size: A side, or (height, width), to scale and crop to; without, all pictures must be of one size.
        image, label: Columns; without, the first that holds pictures, and the one of class labels if there is one.
        split: ``"train"``, ``"test"`` (its own test or validation split, else a tenth) or ``"all"``.

    Raises:
        UserError: Not there, or no network to get it; no pictures in it (naming its columns); pictures of many sizes.
    """
    check_split(split)
    parts = _loaded(name)
    test = next((part for part in TEST if part in parts), None)
    train = "train" if "train" in parts else next(part for part in parts if part != test or len(parts) == 1)
    own = test is not None and test != train
    chosen = {"train": [train], "test": [test] if own else [train], "all": [train, test] if own else [train]}[split]
    data = _read([parts[part] for part in chosen if part], size, image, label, name)
    return data if own else data.part(split)


def _loaded(name: str) -> "dict[str, datasets.Dataset]":
    """Its splits."""
    import datasets

    path = Path(name).expanduser()
    try:
        if path.is_file():
            found = datasets.load_dataset("parquet", data_files={"train": str(path)})
        elif (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(str(path))
        else:
            found = datasets.load_dataset(str(path) if path.exists() else name)
    except Exception as error:  # a hub has many ways to fail, and each library beneath its own
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        hint = "is it a data set?" if path.exists() else "check its name on huggingface.co/datasets, and the network"
        raise UserError(f"{name}: cannot be had ({reason}); {hint}") from None
    return dict(found) if isinstance(found, dict) else {"train": found}


def _read(
    parts: "list[datasets.Dataset]", size: int | tuple[int, int] | None, image: str | None, label: str | None, name: str
) -> Dataset:
    import datasets

    features = parts[0].features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    image = image or next(iter(images), None)
    if image not in images:
        held = f"it has the columns {', '.join(features)}"
        raise UserError(f"{name}: {f'no pictures in {image}' if image else 'holds no pictures'}; {held}")
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    label = label or next(iter(classes), None) or next((column for column in LABELS if column in features), None)
    if label is not None and label not in features:
        raise UserError(f"{name}: {nearest(label, features, 'column')}")
    pictures, told = [], []
    for part in parts:
        for row in part:
            pictures.append(row[image])
            told.append(row[label] if label else None)
    x = _fitted(pictures, size, name)
    if label is None:
        return from_array(x, name=name)
    feature = features[label]
    if isinstance(feature, datasets.ClassLabel):
        known = np.array([-1 if one is None else one for one in told], np.int64)
        return Dataset(torch.from_numpy(x), torch.from_numpy(known), tuple(feature.names), "pictures", name=name)
    indices, names = index_labels(np.array([str(one) for one in told]))
    return Dataset(torch.from_numpy(x), torch.from_numpy(indices), names, "pictures", name=name)


def _fitted(pictures: list[Any], size: int | tuple[int, int] | None, name: str) -> np.ndarray:
    """All of one size, gray if all are: (count, channels, height, width)."""
    sizes = {picture.size[::-1] for picture in pictures}
    if size is None and len(sizes) > 1:
        low, high = min(sizes), max(sizes)
        raise UserError(
            f"{name}: pictures of {len(sizes)} sizes, {low[0]} x {low[1]} to {high[0]} x {high[1]}; give --data.size"
        )
    height, width = (size, size) if isinstance(size, int) else size or next(iter(sizes))
    gray = all(picture.mode in ("1", "L", "I", "I;16") for picture in pictures)
    return np.stack([fitted(picture, height, width, gray) for picture in pictures])
