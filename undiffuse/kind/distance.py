"""Reports on a training by one distance to held-out rows, with a picture of the samples."""

from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import torch

from undiffuse.condition.label import combined
from undiffuse.core.on_disk import typical
from undiffuse.data.dataset import Dataset, random_conditions
from undiffuse.draw.save import Rows
from undiffuse.kind.kind import Kind, Progress, Reporter
from undiffuse.measure.floor import in_their_place
from undiffuse.measure.memorise import nearest_distances
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.run.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image

NOVELTY = "novelty"  # 1: samples are as far from the training data as held-out rows; 0: copies
FLOORS = 5  # draws of training rows, whose median is the floor


def distance_reporter(
    kind: Kind,
    train: Dataset,
    held_out: Dataset,
    seed: int,
    draw: Callable[[Run, Rows, Rows], "Image"],
    novelty: bool = False,
) -> Reporter:
    """The sliced Wasserstein distance to held-out rows, beside its floor; ``draw(run, samples, real)`` draws.

    With ``novelty``, also how far samples are from the nearest training row (on disk: from evenly spread ones),
    as a multiple of what held-out rows are.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(held_out), generator=generator)
    real = held_out.take(order[: min(kind.reported, len(train))])
    pairs = in_their_place(train.x, real.x, FLOORS, generator)
    least = median(sliced_wasserstein(a, b, seed=seed) for a, b in pairs)
    far = float(nearest_distances(real.x, typical(train.x)).median()) if novelty else 0.0
    shown = Rows(real.x, combined(real.labels, held_out.label_names)[0], title="data")

    def report(run: Run) -> Progress:
        conditions = random_conditions(held_out, len(real), seed, run.drawn)
        samples = run.draw(len(real), conditions, run.sampling.override(seed=seed))
        distance = sliced_wasserstein(samples.x, real.x, seed=seed)
        line = f"sliced Wasserstein {distance:.3g} (floor {least:.3g}, {len(real):,} samples)"
        numbers = {"sliced Wasserstein": distance, "floor": least}
        if far > 0:
            numbers[NOVELTY] = float(nearest_distances(samples.x, typical(train.x)).median()) / far
        image = draw(run, kind.made(run, samples._replace(conditions=conditions)), shown)
        return Progress(line, numbers, image)

    return report
