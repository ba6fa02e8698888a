"""What a person may do with each kind of data: one file each, and the one list of them.

kind_of(run).film(...)     kind_of(dataset).describe(...)
evaluate(run)              every measure beside its floor
compare(run)               which sampler is worth how many evaluations
"""

from collections.abc import Callable, Iterable, Sequence

from undiffuse.core.errors import UserError, nearest
from undiffuse.data.dataset import Dataset
from undiffuse.data.describe import describe as _describe
from undiffuse.evaluate import compare as _compare
from undiffuse.evaluate.compare import Comparison, Trying
from undiffuse.evaluate.evaluate import Features, of_classifier
from undiffuse.evaluate.retrieval import of_contrastive
from undiffuse.kind.kind import Kind
from undiffuse.kind.pictures import PicturesKind
from undiffuse.kind.points import PointsKind
from undiffuse.kind.series import SeriesKind
from undiffuse.kind.table import TableKind
from undiffuse.kind.text import TextKind
from undiffuse.measure.report import Report
from undiffuse.recipe.model import NoisyClassifier, PictureText
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (PointsKind(), PicturesKind(), SeriesKind(), TableKind(), TextKind())
}
ENDINGS = tuple(dict.fromkeys(ending for kind in KINDS.values() for ending in kind.writers))  # that data is saved by


MEASURED: dict[type, Callable[[Run, int], Report]] = {NoisyClassifier: of_classifier, PictureText: of_contrastive}


def kind_of(of: Run | Dataset) -> Kind:
    """The kind of data of a run or a data set. Raises UserError for an unknown kind."""
    if of.kind not in KINDS:
        raise UserError(nearest(of.kind, KINDS, "kind of data"))
    return KINDS[of.kind]


def describe(data: Dataset) -> str:
    """What a data set holds, in a few lines: for a person, before an hour of training."""
    kind = kind_of(data)
    return _describe(data, kind.called, kind.describe(data))


def evaluate(
    run: Run,
    count: int | None = None,
    sampling: Sampling | None = None,
    target: str | None = None,
    features: Features = "judge",
) -> Report:
    """Measure ``count`` samples (by default the kind's own count), drawn with the labels of random training rows.

    What cannot sample is measured otherwise: a classifier by its accuracy at each noise level, a model of pictures and
    texts by how they find each other. Raises UserError if the count is
    too small or the data is gone.
    """
    how = sampling or run.sampling
    if not run.recipe.samples:
        return MEASURED[type(run.recipe.model)](run, how.seed)
    kind = kind_of(run)
    count = kind.measured if count is None else count
    if count < 2:
        raise UserError(f"count must be at least 2, not {count}")
    return kind.evaluate(run, count, how, target, features)


def compare(
    run: Run,
    samplers: Sequence[str] | None = None,
    evaluations: Sequence[int] | None = None,
    seeds: int = 3,
    count: int | None = None,
    sampling: Sampling | None = None,
    watch: Callable[[Sequence[Trying]], Iterable[Trying]] = tuple,
    beside: Sequence[Run] = (),
) -> Comparison:
    """Every sampler at every number of network evaluations; see `undiffuse.evaluate.compare.compare`."""
    kind = kind_of(run)
    count = kind.compared if count is None else count
    return _compare.compare(run, kind.ruler, samplers, evaluations, seeds, count, sampling, watch, beside)
