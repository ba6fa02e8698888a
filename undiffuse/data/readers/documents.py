"""Documents with labels: a folder of text files. A file's label is the folder that it is in, or else its own name."""

from pathlib import Path

import torch

from undiffuse.condition.label import labelled
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.text import ENDINGS, Unit, alphabet_of, cut, stored, whole_text


def is_documents(folder: Path) -> bool:
    """Whether a folder, and the folders in it, hold text files and nothing else; hidden files do not count."""
    if not folder.is_dir():
        return False
    files = _files(folder)
    return bool(files) and all(file.name.lower().endswith(ENDINGS) for file in files)


def documents(
    folder: Path, length: int, unit: Unit, tokenizer: str | None, split: str = "train", encoding: str = "utf-8"
) -> Dataset:
    """Pieces (count, length) of the documents, with the label of each as a condition.

    The documents of a label are one text, in the order of their names, cut and held out as `text` does.

    Raises UserError as it does, and for fewer than two labels.
    """
    check_split(split)
    if length < 1:
        raise UserError(f"a piece of text has at least 1 token, not {length}")
    texts: dict[str, str] = {}
    for file in _files(folder):
        label = file.relative_to(folder).parts[0] if file.parent != folder else file.name.partition(".")[0]
        texts[label] = texts.get(label, "") + whole_text(file, encoding)[0]
    if len(texts) < 2:
        raise UserError(f"{folder}: one label, {next(iter(texts))}; for a single text give its file")
    alphabet = alphabet_of("".join(texts.values()), unit, tokenizer)
    tokens = {label: alphabet.encode(whole).to(stored(alphabet)) for label, whole in texts.items()}
    parts = [cut(folder / label, one, length, split) for label, one in tokens.items()]
    labels = torch.cat([torch.full((len(part),), k) for k, part in enumerate(parts)])
    conditions, specifications = labelled(labels, tuple(texts))
    note = f"{sum(map(len, tokens.values())):,} tokens of {len(texts)} labels, {alphabet.describe()}"
    return Dataset(
        torch.cat(parts), conditions, specifications, "text", alphabet=alphabet, notes=(note,), name=folder.name
    )


def _files(folder: Path) -> list[Path]:
    """All files that are not hidden, by name."""
    inside = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in inside if not any(part.startswith(".") for part in file.relative_to(folder).parts))
