"""What samples of a run are asked to be: conditions in words, and the conditions that the model was trained with."""

from typing import Any, Protocol

import torch

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.read import Request, name_of_text, read, with_label, with_more
from undiffuse.condition.scale import NAME, with_none
from undiffuse.condition.specification import Labels, Numbers, Specifications
from undiffuse.core.errors import UserError
from undiffuse.core.memory import require
from undiffuse.data.task import Task
from undiffuse.run.stages import Staged, with_undrawn


class Askable(Staged, Protocol):
    """What those who ask need to know of a run."""

    @property
    def denoiser(self) -> Any: ...  # noqa: D102
    @property
    def requestable(self) -> Specifications: ...  # noqa: D102
    @property
    def scales(self) -> Numbers | None: ...  # noqa: D102
    @property
    def is_joint(self) -> bool: ...  # noqa: D102
    @property
    def task(self) -> Task | None: ...  # noqa: D102


def with_named(run: Askable, conditions: Request, named: dict[str, Any]) -> Request:
    """Conditions in words, with further ones added: see `Run.request`."""
    named = {name: value for name, value in named.items() if value is not None}
    if "text" in named and "text" not in run.requestable:
        named[name_of_text(run.requestable)] = named.pop("text")
    if "label" in named:
        conditions = with_label(run.requestable, conditions, named.pop("label"))
    return with_more(conditions, named) if named else conditions


def asked_of(run: Askable, count: int, rows: Request, first: int) -> Conditions | None:
    """The conditions of samples ``first``, ``first`` + 1, ...: see `Run.conditions`, which says what is raised."""
    if count < 1:
        raise UserError(f"count must be at least 1, not {count}")
    require(16 * count, f"the conditions of {count:,} samples")
    if first < 0:
        raise UserError(f"samples are counted from 0, not from {first}")
    nothing = not rows and not isinstance(rows, Conditions)
    free = _free(run)
    others = any(not isinstance(one, Labels) for name, one in run.requestable.items() if name not in free)
    absent = run.is_joint or (nothing and others and run.recipe.training.each_dropout == 0)
    if isinstance(rows, Conditions):
        rows = with_undrawn(run, with_none(rows) if run.scales else rows)
    wanted = read(run.requestable, rows, all_labels=not absent)
    if wanted is None:
        return None
    if run.specifications:
        _check_absent(run, wanted)
    return wanted[torch.arange(first, first + count) % len(wanted)]


def _free(run: Askable) -> tuple[str, ...]:
    """Conditions that may be absent however the model was trained: those that it or a stage draws, and the guidance
    scale."""
    return (*getattr(run.denoiser, "drawn", ()), *run.drawn, *([NAME] if run.scales else []))


def _check_absent(run: Askable, wanted: Conditions) -> None:
    """Whether the model was trained without the conditions that are absent."""
    chosen = wanted.only(*(name for name in wanted.entries if name not in _free(run)))
    if chosen is None:
        return
    absent = ~torch.stack([entry.present for entry in chosen.entries.values()], 1)
    if run.task is not None and absent.any():
        raise UserError(f"this run restores pictures; say from what: {run.task.asks}, or --like WHOLE.png")
    names = ", ".join(name for name, column in zip(chosen.entries, absent.unbind(1), strict=True) if column.any())
    if absent.all(1).any() and run.recipe.training.condition_dropout == 0:
        raise UserError(f"none for all conditions needs a model trained with --label-dropout above 0; give {names}")
    if (absent.any(1) & ~absent.all(1)).any() and run.recipe.training.each_dropout == 0:
        raise UserError(
            f"none for some conditions needs a model trained with --attribute-dropout above 0; give {names}"
        )
