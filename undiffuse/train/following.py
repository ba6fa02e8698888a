"""How a training is followed while it goes on: a picture to keep open, trackers, a profile.

None of this belongs to the recipe: it changes nothing of what is trained, and may differ when a run is resumed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from undiffuse.core.configuration import leaves
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.core.paths import path_of
from undiffuse.recipe.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

WRITTEN = "tensorboard"  # its files are in the folder of every training
PROJECT = "undiffuse"
NAMED = {"wandb": "name", "trackio": "name", "mlflow": "run_name", "swanlab": "experiment_name"}  # how each calls a run


@dataclass(frozen=True)
class Following:
    """What is written beside the run.

    Attributes:
        preview: A .png of the latest samples.
        trackers: Names of trackers that accelerate knows: wandb, mlflow, trackio, ... They get the recipe, and every
            number and picture of the log.
        profile: Whether some steps are profiled (`undiffuse.train.profile`).

    Raises:
        UserError: The preview is no .png in a folder that is there; a tracker is unknown or not installed.
    """

    preview: Path | None = None
    trackers: tuple[str, ...] = ()
    profile: bool = False

    def __post_init__(self) -> None:
        preview = self.preview
        if preview is not None and (preview.suffix.lower() != ".png" or not preview.parent.is_dir()):
            raise UserError(f"{preview}: a preview is a .png, in a folder that is there")
        if self.others:
            _check(self.others)

    @classmethod
    def asked(cls, preview: str | Path | None, trackers: Sequence[str] | None, profile: bool) -> "Following":
        """As the command line says it."""
        return cls(None if preview is None else path_of(preview), tuple(trackers or ()), profile)

    @property
    def others(self) -> list[str]:
        """The trackers beside TensorBoard's files."""
        return [name for name in self.trackers if name != WRITTEN]

    @contextmanager
    def tracked(self, accelerator: "Accelerator", recipe: Recipe, run: Path) -> Iterator[Sequence["GeneralTracker"]]:
        """The trackers while they are open, told the recipe."""
        if not self.others:
            yield ()
            return
        names = {tracker: {NAMED[tracker]: run.name} for tracker in self.others if tracker in NAMED}
        accelerator.init_trackers(PROJECT, {path: str(value) for path, _, value in leaves(recipe)}, names)
        try:
            yield accelerator.trackers
        finally:
            for tracker in accelerator.trackers:
                tracker.finish()


NOT_FOLLOWED = Following()


@usage()
def _check(names: Sequence[str]) -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    here = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UserError(nearest(name, LOGGER_TYPE_TO_CLASS, "tracker"))
        if name not in here:
            raise UserError(f"the tracker {name} is not installed: pip install {name.replace('_', '-')}")
