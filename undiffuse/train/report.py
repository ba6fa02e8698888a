"""Looking up from training: what the averaged weights make of the same noise by now, drawn and measured."""

import math
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.condition.label import combined
from undiffuse.core.files import write_atomically
from undiffuse.data.dataset import Dataset, random_labels
from undiffuse.evaluate.bits import token_bits
from undiffuse.evaluate.noisy_accuracy import noisy_accuracy
from undiffuse.kind.prompt import read
from undiffuse.measure.floor import floor
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.measure.table import column_distances
from undiffuse.run.run import Run
from undiffuse.train.log import Log

if TYPE_CHECKING:
    from PIL.Image import Image

COUNT = {"points": 2000, "pictures": 128, "table": 2000, "tokens": 256}  # samples measured
SHOWN = 64  # pictures on a sheet


class Reporter:
    """Reports on one training, always from the same noise and against the same rows, which were ``held_out``."""

    def __init__(self, held_out: Dataset, seed: int) -> None:
        self.seed = seed
        self.count = min(COUNT[held_out.kind], len(held_out) // 2)
        order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))
        self.real = held_out.take(order[: 2 * self.count])
        self.data = held_out.take(order[: self.count]) if self.count > 1 else self.real
        self.labels = random_labels(held_out, len(self.data), seed)
        self.schema = held_out.schema
        if held_out.kind == "tokens":
            self.floor = math.nan  # of bits, nobody knows it
        elif self.schema:
            self.floor = floor(self._by_columns, self.real.x, self.count, seed=seed).median
        else:
            self.floor = floor(sliced_wasserstein, self.real.x, self.count, seed=seed).median

    def __call__(self, run: Run, log: Log) -> str:
        """Sample, draw into ``pictures/STEP.png``, measure, log; returns a line for a person.

        Of a table, measure alone; of a text, count bits and show some; of a classifier, measure its accuracy by noise.
        """
        if run.is_classifier:
            return self._examine(run, log)
        if run.kind == "table":
            return self._tabulate(run, log)
        if run.kind == "tokens":
            return self._read(run, log)
        x = run.sample(len(self.data), label=self.labels, seed=self.seed)
        image = self._draw(run, x)
        folder = run.folder / "pictures"
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{run.step:09d}.png", image.save)
        log.picture(run.step, "samples", image)
        distance = sliced_wasserstein(x, self.data.x, seed=self.seed)
        log.write(run.step, {"sliced Wasserstein": distance, "floor": self.floor})
        return f"step {run.step:,}: sliced Wasserstein {distance:.3g} (floor {self.floor:.3g}, {len(x):,} samples)"

    def _examine(self, run: Run, log: Log) -> str:
        found = {level: right for level, (right, _) in noisy_accuracy(run, self.real, self.seed).items()}
        log.write(run.step, {f"accuracy at noise {level:g}": right for level, right in found.items()})
        told = ", ".join(f"{right:.0%} right at noise {level:g}" for level, right in found.items())
        return f"step {run.step:,}: {told}"

    def _tabulate(self, run: Run, log: Log) -> str:
        distance = self._by_columns(run.sample(len(self.data), seed=self.seed), self.data.x)
        log.write(run.step, {"distance by columns": distance, "floor": self.floor})
        return f"step {run.step:,}: distance by columns {distance:.3g} (floor {self.floor:.3g}, {self.count:,} samples)"

    def _read(self, run: Run, log: Log) -> str:
        bits = token_bits(run, self.data, seed=self.seed)
        shown = read(run.codec, run.sample(1, seed=self.seed))[0]
        log.write(run.step, {"bits a token": bits.mean, "standard error": bits.error})
        return f"step {run.step:,}: {bits.mean:.3f} ± {bits.error:.2g} bits a token; {shown!r}"

    def _by_columns(self, x: Tensor, y: Tensor) -> float:
        return fmean(column_distances(x, y, self.schema))

    def _draw(self, run: Run, x: Tensor) -> "Image":
        """Points beside the data; a sheet of pictures, the labels in turn."""
        from undiffuse.draw import pictures, points, style

        if run.kind == "pictures":
            return pictures.pictures(run.sample(SHOWN, seed=self.seed))
        (real, names), (asked, _) = (combined(labels, run.label_names) for labels in (self.data.labels, self.labels))
        clouds = [points.Cloud("data", self.data.x, real), points.Cloud(f"after {run.step:,} steps", x, asked)]
        return style.picture(points.points(clouds, names, run.columns))
