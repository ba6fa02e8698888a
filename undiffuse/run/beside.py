"""A run beside data: its own, or others that it is measured on."""

from dataclasses import replace

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.scale import NAME
from undiffuse.condition.specification import Labels, Specification
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, random_conditions
from undiffuse.data.own import Elsewhere, Files, Hub
from undiffuse.data.source import Restored, Single, Source
from undiffuse.run.run import Run


def measured_on(run: Run, data: Source) -> Run:
    """The same run, with other data in the place of what it was trained on.

    Raises UserError for data of another kind, or that cannot be read to this shape.
    """
    source: Source = data
    try:
        source = _for_task(run, data.shaped(run.shape) if isinstance(data, Files | Hub) else data)
        opened = source.open("test")
    except UserError:  # of an array, which has its own shape
        source = _for_task(run, data)
        opened = source.open("test")
    if (opened.kind, opened.shape) != (run.kind, run.shape):
        mine = f"this run makes {run.kind} of shape {run.shape}"
        raise UserError(f"--data: {opened.kind} of shape {opened.shape}, and {mine}")
    return replace(run, recipe=replace(run.recipe, data=source))


def _for_task(run: Run, data: Source) -> Source:
    """The data with what the task of the run leaves of it."""
    own = run.recipe.data
    return replace(own, of=data) if isinstance(own, Restored) and isinstance(data, Single) else data


def typical(run: Run, count: int, seed: int = 0, data: Dataset | None = None) -> Conditions | None:
    """The conditions of ``count`` random rows of its ``data``; None for a model without conditions.

    Of other data than it was trained on, those that go by the same name, in words: captions, for a model of text. A
    model of labels alone, whose data is elsewhere, takes its labels in turn.
    """
    if not run.specifications:
        return None
    labels_alone = all(isinstance(one, Labels) for one in run.specifications.values())
    if data is None and isinstance(run.recipe.data, Elsewhere) and labels_alone:
        return run.conditions(count)
    data = data or run.dataset()
    drawn = random_conditions(data, count, seed, run.drawn)
    if drawn is None or knows(run, data):
        return drawn
    shared = [name for name in data.specifications if name in run.specifications]
    columns = [data.specifications[name].written(drawn.entries[name]).tolist() for name in shared]
    return run.conditions(count, [dict(zip(shared, row, strict=True)) for row in zip(*columns, strict=True)])


def knows(run: Run, data: Dataset) -> bool:
    """Whether the data has the run's conditions: of the same names, kinds and words."""

    def what(of: Specification) -> object:
        return type(of), of.shape, getattr(of, "names", ()), getattr(of, "reader", None)

    mine = {name: what(of) for name, of in run.specifications.items() if name != NAME}
    return mine == {name: what(of) for name, of in data.specifications.items() if name != NAME}
