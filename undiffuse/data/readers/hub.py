"""Pictures through Hugging Face's `datasets`: from the hub, from a folder that it saved, or from parquet files."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import labelled
from undiffuse.condition.specification import Specification
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.paths import path_of
from undiffuse.data.captions import LEARNED, NAME, Captioner
from undiffuse.data.conditioned import together
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.array import index_labels
from undiffuse.data.readers.captions import TEXTS
from undiffuse.data.readers.pictures import fitted, header, sides

if TYPE_CHECKING:
    import datasets
    from PIL.Image import Image as Picture

    Parts = dict[str, datasets.Dataset]  # by split

T = TypeVar("T")
LABELS = ("label", "labels", "class", "category", "fine_label")  # columns, where none is of class labels
TEST = ("test", "validation", "val")  # splits


def hub(
    name: str,
    size: int | tuple[int, int] | None = None,
    image: str | None = None,
    label: str | None = None,
    split: str = "train",
    caption: str | None = None,
    captioner: Captioner = LEARNED,
) -> Dataset:
    """Pictures (count, channels, height, width), labels and captions of a data set of the hub, or of a path.

    Args:
        name: ``"user/name"`` on the hub; a folder of ``save_to_disk``, or of parquet files; a parquet file.
        size: A side, or (height, width), to scale and crop to; without, all pictures must be of one size.
        image: The column of pictures; without, the first that holds some.
        label: The column of labels; without, the one of class labels if there is one.
        caption: The column of captions, or of lists of them; without, the first called text, caption, ... that holds
            words.
        captioner: What makes a condition of them.
        split: ``"train"``, ``"test"`` (its own test or validation split, else a tenth) or ``"all"``.

    Size, gray or colour, and the names of labels are decided over all splits, so that they agree. A missing label is
    -1, not known.

    Raises:
        UserError: Not there, or no network to get it; no pictures in it (naming its columns); pictures of many sizes;
            a row whose picture is missing or cannot be read.
    """
    check_split(split)
    parts = _loaded(name)
    test = next((part for part in TEST if part in parts), None)
    train = "train" if "train" in parts else next(part for part in parts if part != test or len(parts) == 1)
    own = test is not None and test != train
    every = [part for part in ((train, test) if own else (train,)) if part]  # splits, which must agree
    chosen = every if split == "all" else every[-1:] if split == "test" else every[:1]
    image, label = _columns(parts[train].features, image, label, name)
    height, width, gray = _frame(every, parts, image, size, name)
    x = np.empty((sum(len(parts[part]) for part in chosen), 1 if gray else 3, height, width), np.uint8)
    for k, picture in enumerate(_each(chosen, parts, image, name, lambda opened: fitted(opened, height, width, gray))):
        x[k] = picture
    conditions, specifications = labelled(*(_labels(chosen, every, parts, label) if label else (None, ())))
    caption = _caption_column(parts[train].features, caption, name)
    if caption:
        conditions, specifications = _with_captions(
            conditions, specifications, chosen, every, parts, caption, captioner
        )
    data = Dataset(torch.from_numpy(x), conditions, specifications, "pictures", name=name)
    return data if own else data.part(split)


def _loaded(name: str) -> "Parts":
    """Its splits."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            "what the hub, its saved folders and .parquet files hold needs: pip install 'undiffuse[hub]'"
        ) from None

    path = path_of(name)
    try:
        if path.is_file():
            found = datasets.load_dataset("parquet", data_files={"train": str(path)})
        elif (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(str(path))
        else:
            found = datasets.load_dataset(str(path) if path.exists() else name)
    except Exception as error:  # a hub has many ways to fail, and each library beneath its own
        hint = "is it a data set?" if path.exists() else "check its name on huggingface.co/datasets, and the network"
        raise UserError(f"{name}: cannot be had ({_line(error)}); {hint}") from None
    return dict(found) if isinstance(found, dict) else {"train": found}


def _columns(features: "datasets.Features", image: str | None, label: str | None, name: str) -> tuple[str, str | None]:
    """The columns of pictures and, if there is one, of labels."""
    import datasets

    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    image = image or next(iter(images), None)
    if image is None or image not in images:
        held = f"it has the columns {', '.join(features)}"
        raise UserError(f"{name}: {f'no pictures in {image}' if image else 'holds no pictures'}; {held}")
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    label = label or next(iter(classes), None) or next((column for column in LABELS if column in features), None)
    if label is not None and label not in features:
        raise UserError(f"{name}: {nearest(label, features, 'column')}")
    return image, label


def _caption_column(features: "datasets.Features", caption: str | None, name: str) -> str | None:
    """The column of captions: the one that is asked for, or the first of the usual names that holds words."""
    import datasets

    if caption is not None and caption not in features:
        raise UserError(f"{name}: {nearest(caption, features, 'column')}")
    worded = [column for column, feature in features.items() if _is_words(feature, datasets)]
    return caption or next((column for column in TEXTS if column in worded), None)


def _is_words(feature: Any, datasets: Any) -> bool:
    """Whether a column holds words, or lists of them."""
    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else feature)
    return isinstance(inner, datasets.Value) and inner.dtype in ("string", "large_string")


def _with_captions(
    conditions: Conditions | None,
    specifications: dict[str, Specification],
    chosen: list[str],
    every: list[str],
    parts: "Parts",
    column: str,
    captioner: Captioner,
) -> tuple[Conditions, dict[str, Specification]]:
    """Conditions with captions added, whose words are those of all splits."""
    texts = {split: [_several(cell) for cell in parts[split][column]] for split in every}
    read = captioner([row for split in every for row in texts[split]])
    kept = torch.cat([torch.full((len(texts[split]),), split in chosen) for split in every])
    entry = read.entry.each(lambda x: x[kept])
    entries, told = together(conditions, specifications, ({NAME: entry}, {NAME: read.specification}))
    return Conditions(entries, {} if read.variants is None else {NAME: read.variants[kept]}), told


def _several(cell: object) -> list[str]:
    """The captions in a cell."""
    several = cell if isinstance(cell, list) else [cell]
    return [text.strip() for text in several if isinstance(text, str) and text.strip()]


def _each(splits: list[str], parts: "Parts", image: str, name: str, look: "Callable[[Picture], T]") -> Iterator[T]:
    """What ``look`` makes of each picture, opened but not decoded; one after the other, so that one is held."""
    import datasets
    from PIL import Image

    for split in splits:
        feature = parts[split].features[image]
        for k, row in enumerate(parts[split].select_columns(image).cast_column(image, datasets.Image(decode=False))):
            held = row[image]
            if held is None:
                raise UserError(f"{name}: row {k + 1} of {split} has no picture in {image}; leave that row out")
            try:
                seen = look(Image.open(BytesIO(held["bytes"])) if held["bytes"] else feature.decode_example(held))
            except Exception as error:  # decoders of damaged pictures raise anything
                raise UserError(
                    f"{name}: the picture in row {k + 1} of {split} cannot be read ({_line(error)})"
                ) from None
            yield seen


def _frame(
    splits: list[str], parts: "Parts", image: str, size: int | tuple[int, int] | None, name: str
) -> tuple[int, int, bool]:
    """Height and width of every picture, and whether all are gray: over all splits, so that they agree."""
    headers = list(_each(splits, parts, image, name, header))
    sizes = {(found.height, found.width) for found in headers} or {(1, 1)}
    if size is None and len(sizes) > 1:
        low, high = min(sizes), max(sizes)
        raise UserError(
            f"{name}: pictures of {len(sizes)} sizes, {low[0]} x {low[1]} to {high[0]} x {high[1]}; give --data.size"
        )
    height, width = sides(size, name) if size is not None else sizes.pop()
    return height, width, all(found.gray for found in headers)


def _labels(
    chosen: list[str], every: list[str], parts: "Parts", label: str
) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """Indices of the chosen splits' labels, -1 where there is none, and the names of all splits' labels."""
    import datasets

    feature = parts[every[0]].features[label]
    if isinstance(feature, datasets.ClassLabel):
        of_rows = [-1 if one is None else one for split in chosen for one in parts[split][label]]
        return torch.tensor(of_rows, dtype=torch.int64), tuple(feature.names)
    values, known = (
        np.array([_plain(one) for split in splits for one in parts[split][label]], dtype=object)
        for splits in (chosen, every)
    )
    indices, names = index_labels(values, known)
    return (torch.from_numpy(indices), names) if names else (None, ())


def _plain(label: Any) -> int | float | str:
    """A label that can be told from others and sorted; "" where it is missing."""
    return label if isinstance(label, int | float) else "" if label is None else str(label)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
