"""Pictures with a task: what it leaves of each is its one condition, and is made when it is needed."""

from dataclasses import replace

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset
from undiffuse.data.task import Task


def restored(data: Dataset, task: Task) -> Dataset:
    """The same pictures, without other conditions. Raises UserError for other data than pictures."""
    if data.kind != "pictures":
        raise UserError(f"{data.name}: only pictures are restored, not {data.kind}; leave --task out")
    of = {task.condition: task.specification(data.shape)}
    return replace(data, conditions=None, specifications=of, task=task)
