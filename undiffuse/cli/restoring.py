"""What is left of a picture, in the words of the command line: for a run that restores pictures, and for no other."""

from argparse import Namespace
from typing import TYPE_CHECKING

from undiffuse.core.errors import UserError, usage
from undiffuse.core.paths import path_of

if TYPE_CHECKING:
    from torch import Tensor

    from undiffuse.data.task import Task
    from undiffuse.kind.kind import Kind
    from undiffuse.run.run import Run

LIKE = "like"  # a whole picture, of which the task leaves something
WAYS = ("low", "known", "edges", LIKE)  # the conditions of the tasks are called as their options


def left(options: Namespace, run: "Run", kind: "Kind", task: "Task") -> "dict[str, Tensor]":
    """What the options say is left, or what is left of the whole picture of --like. Raises UserError for another
    option than the task's."""
    ways = [way for way in WAYS if getattr(options, way, None) is not None]
    with usage():
        if not ways:
            raise UserError(f"this run restores pictures; say from what: {task.asks}, or --like WHOLE.png")
        if len(ways) > 1:
            raise UserError(f"give --{ways[0]} or --{ways[1]}, not both")
        if ways[0] not in (task.condition, LIKE):
            raise UserError(f"this run was trained to restore pictures from {task.asks}; leave --{ways[0]} out")
    path, mask = path_of(getattr(options, ways[0])), getattr(options, "mask", None)
    if ways[0] == LIKE:
        return run.left_of(kind.rows(run, path, options.fit), options.seed or 0)
    return {task.condition: kind.left(run, path, path_of(mask) if mask else None, options.fit)}
