"""The samplers tuned for a run, kept in its folder as ``tuned.json`` and known as the grid ``tuned``.

    run.sample(64, grid="tuned", steps=5)         after: undiffuse tune RUN --evaluations 5

Each is a tableau (`undiffuse.sampling.tuned`): times and coefficients, for one number of evaluations. They belong to
one set of weights, whose fingerprint is beside them, and to one guidance scale.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from undiffuse.core.configuration import from_json, to_values
from undiffuse.core.errors import UserError, caution
from undiffuse.core.files import write_json
from undiffuse.sampling.tuned.tableau import Tableau

TUNED = "tuned"  # the name of the grid
FILE = "tuned.json"


@dataclass(frozen=True)
class Tuned:
    """What ``tuned.json`` holds.

    Attributes:
        model: The `fingerprint` of the weights.
        guidance: The guidance scale; 1 is off.
        tableaus: By the number of evaluations.
    """

    model: str
    guidance: float
    tableaus: dict[int, Tableau]

    def __post_init__(self) -> None:
        for count, tableau in self.tableaus.items():
            if len(tableau.times) != count:
                raise UserError(f"a tableau of {len(tableau.times)} evaluations is called one of {count}")

    def of(self, folder: Path, count: int, guidance: float) -> Tableau:
        """The tableau of so many evaluations. Raises UserError if there is none, naming those that there are."""
        if count not in self.tableaus:
            known = ", ".join(map(str, sorted(self.tableaus)))
            more = f"undiffuse tune {folder} --evaluations {count}"
            raise UserError(f"{folder} is tuned for --steps {known}, not {count}; for more: {more}")
        if guidance != self.guidance:
            caution(f"{folder} was tuned with guidance {self.guidance:g}, and is sampled with {guidance:g}")
        return self.tableaus[count]


def read_tuned(folder: Path, model: str) -> Tuned:
    """What was tuned for the run in a folder, whose weights have the fingerprint ``model``.

    Raises:
        UserError: Nothing was, the file is damaged, or it is of other weights.
    """
    path = folder / FILE
    again = f"undiffuse tune {folder} --evaluations 5,10"
    if not path.is_file():
        raise UserError(f"{folder} has no tuned grid; make one with: {again}")
    found: Tuned = from_json(Tuned, path.read_bytes(), str(path))
    if found.model != model:
        raise UserError(f"{path}: tuned for other weights than the run has now; tune again: {again}")
    return found


def write_tuned(folder: Path, tuned: Tuned) -> Path:
    """Write it, whole or not at all."""
    write_json(folder / FILE, to_values(tuned, Tuned))
    return folder / FILE


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """What tells one set of weights from another."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
