"""A run's judge: the classifier of its data, trained once and kept in the run's folder beside the model.

``judge.safetensors`` holds its weights, its accuracy on held-out data and the checksum of its training data; if the
data changes, a new judge is trained. Distances between pictures use its features, so that measuring quality needs
nothing but the data.
"""

import zlib
from contextlib import suppress

import numpy as np
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.data.dataset import Dataset, judged_rows
from undiffuse.measure.judge import Judge
from undiffuse.run.run import Run

FILE, FORMAT = "judge.safetensors", "undiffuse judge 1"


def judge_of(run: Run, train: Dataset, test: Dataset) -> Judge | None:
    """The judge of a run's data; None if fewer than two labels are known, or if no held-out row has a label.

    Several attributes are judged as one label. If the folder is not writable, the judge is not saved, and nothing else
    changes.
    """
    (x, labels), (held_out, held_out_labels) = judged_rows(train), judged_rows(test)
    if len(labels.unique()) < 2 or not len(held_out):
        return None
    path, facts = run.folder / FILE, _facts(train, test)
    if path.is_file():
        try:
            tensors, kept = read_tensors(path)
            if kept == facts:
                return Judge.from_state(tensors).to(run.device)
        except (UserError, KeyError, RuntimeError):
            pass  # damaged, or of another version: train again
    judge = Judge.train(x.to(run.device), labels, held_out, held_out_labels)
    with suppress(OSError, UserError):
        write_tensors(path, judge.state(), facts)
    return judge


def is_current(run: Run, train: Dataset, test: Dataset) -> bool:
    """Whether the judge in the run's folder is of this data, and can be read."""
    with suppress(UserError):
        return read_tensors(run.folder / FILE)[1] == _facts(train, test)
    return False


def _facts(train: Dataset, test: Dataset) -> dict[str, str]:
    """What the file of a judge says besides its weights."""
    return {"format": FORMAT, "data crc32": str(_checksum(*judged_rows(train), *judged_rows(test)))}


def _checksum(*tensors: Tensor) -> int:
    found = 0
    for tensor in tensors:
        found = zlib.crc32(np.ascontiguousarray(tensor.cpu().numpy()).data, found)
    return found
