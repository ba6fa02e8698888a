"""What a person may do with one kind of data: one value for each kind, and every command asks it.

A kind only chooses; the algorithms are elsewhere: measures in `measure/` and `evaluate/`, pictures in `draw/`. If a
kind cannot do something, its error says so and says what to do instead.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor

from undiffuse.condition.label import combined, labels_of, names_of, written
from undiffuse.condition.read import Request
from undiffuse.core.errors import UserError, check_seed, usage
from undiffuse.core.operator import Operator
from undiffuse.core.shuffled import shuffled
from undiffuse.data.dataset import Dataset
from undiffuse.draw.animation import Frame
from undiffuse.draw.save import Rows, Writer
from undiffuse.evaluate.compare import Ruler
from undiffuse.evaluate.evaluate import Features
from undiffuse.evaluate.likelihood import Likelihood, likelihood
from undiffuse.measure.report import Report
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.gap import Gap
from undiffuse.run.given import Given
from undiffuse.run.run import Run, Samples
from undiffuse.sampling.sampling import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image


class Progress(NamedTuple):
    """How far a training has come."""

    line: str  # for a person
    numbers: dict[str, float]  # for the log
    picture: "Image | None" = None


Reporter = Callable[[Run], Progress]


class Kind(ABC):
    """One kind of data.

    Attributes:
        name: What it is called in files.
        item, items: The words for one row and for several, in a sentence.
        called: How a data set describes its content; {} is the shape of a row.
        writers: For each file ending, what saves rows to such a file; the first is the default.
        shown, filmed, measured, compared, reported: Default numbers of samples: to look at, in a film, to evaluate, to
            compare samplers, in a training's reports.
        widths: Of networks, for a training by the clock.
        enough: How many steps show what the data is.
    """

    name: ClassVar[str]
    item: ClassVar[str]
    items: ClassVar[str]
    called: ClassVar[str]
    writers: ClassVar[Mapping[str, Writer]]
    shown: ClassVar[int]
    filmed: ClassVar[int]
    measured: ClassVar[int]
    compared: ClassVar[int]
    reported: ClassVar[int]
    widths: ClassVar[tuple[int, ...]]
    enough: ClassVar[int]

    # ------------------------------------------------------------------------------------------ to look at

    @abstractmethod
    def describe(self, data: Dataset) -> list[str]:
        """What the values of the data are, a line each."""

    def counted(self, count: int) -> str:
        """1 picture, 2,000 pictures."""
        return f"{count:,} {self.item if count == 1 else self.items}"

    def some(self, data: Dataset, count: int, seed: int = 0) -> Rows:
        """At most ``count`` rows of the data, drawn by ``seed``."""
        check_seed(seed)
        chosen = shuffled(len(data), seed)[:count]
        labels, names = combined(data.labels, data.label_names)
        labels = None if labels is None else labels[chosen]
        conditions = written(data.conditions and data.conditions[chosen], data.specifications)
        rows = Rows(data.x[chosen], labels, names, data.columns, data.name, alphabet=data.alphabet, schema=data.schema)
        return replace(rows, conditions=conditions)

    def made(self, run: Run, samples: Samples) -> Rows:
        """Samples as they are saved."""
        labels, names = combined(labels_of(samples.conditions, run.requestable), names_of(run.requestable))
        return Rows(samples.x, labels, names, run.columns, conditions=written(samples.conditions, run.requestable))

    def save(self, rows: Rows, path: Path) -> None:
        """Write rows in the format that the ending of ``path`` names: whole, or not at all. Raises UserError for an
        unknown ending."""
        self.check_ending(path)
        self.writers[path.suffix.lower()](rows, path)

    def check_ending(self, path: Path) -> None:
        """Raises UserError if this kind of data cannot be saved to such a file; checked before any sample is drawn."""
        if path.suffix.lower() not in self.writers:
            *most, last = self.writers
            raise UserError(f"{path}: {self.items} are saved as {', '.join(most)} or {last}")

    def printed(self, rows: Rows) -> str:
        """The text that shows rows on a terminal; empty for most kinds."""
        return ""

    def film(self, run: Run, states: Iterable[Frame], samples: Samples) -> "Iterator[Image]":
        """A frame for every state. Raises UserError where there is nothing to look at."""
        raise UserError(f"{self.items} are not filmed; use: undiffuse sample {run.folder}")

    # ------------------------------------------------------------------------------------------ how good

    @abstractmethod
    def evaluate(
        self, run: Run, count: int, sampling: Sampling, target: str | None = None, features: Features = "judge"
    ) -> Report:
        """Every measure of ``count`` samples beside its floor; see `undiffuse.evaluate.evaluate`."""

    @abstractmethod
    def reporter(self, train: Dataset, held_out: Dataset, seed: int) -> Reporter:
        """What a training's reports draw and measure: always from the same noise, against the same held-out rows.

        The floor is the value that rows of ``train`` get in place of the samples.
        """

    def ruler(self, run: Run, train: Dataset, test: Dataset) -> Ruler:
        """The distance of samples from held-out rows, to compare samplers. Raises UserError if the kind has none."""
        raise UserError(f"samplers of {self.items} are not compared; use: undiffuse evaluate {run.folder}")

    def likelihood(
        self,
        run: Run,
        count: int | None = None,
        seed: int = 0,
        split: str = "test",
        flow: bool = False,
        exact: bool = False,
        steps: int | None = None,
    ) -> Likelihood:
        """The likelihood of rows of the data; see `undiffuse.evaluate.likelihood`."""
        return likelihood(run, count, seed, split, flow, exact, steps, self.item)

    # ------------------------------------------------------------------------------------------ what trains it

    def widths_of(self, recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The widths that a network of this recipe may have, for rows of this shape; narrowest first."""
        return self.widths

    # ------------------------------------------------------------------------------------------ what is known

    def given(self, run: Run, columns: Mapping[str, str]) -> Given:
        """One row in which these columns are known; cells are written as in a file. Raises UserError for a kind without
        columns."""
        raise UserError(f"{self.items} have no columns to be given; leave --given out, or give a file: --known FILE")

    @usage()
    def prompt(self, run: Run, text: str, hole: str) -> Given:
        """One text that is known except at its holes. Raises UserError for other kinds of data."""
        raise UserError(f"{run.folder}: makes {self.items}; only a text takes a prompt")

    @usage()
    def gap(self, run: Run, text: str, sign: str) -> Gap:
        """One text that is known except for a gap of unknown length. Raises UserError for other kinds of data."""
        raise UserError(f"{run.folder}: makes {self.items}; only a text has gaps")

    @usage()
    def write_on(self, run: Run, prompt: str, tokens: int, sampling: Sampling, conditions: Request) -> Iterator[str]:
        """What comes after a prompt, as it is drawn. Raises UserError for other kinds of data."""
        raise UserError(f"{run.folder}: makes {self.items}; only a text is written on")

    def rows(self, run: Run, path: Path, fit: bool = False) -> Tensor:
        """Rows of a file, (count, *shape), of which nothing is missing, to start from or to translate.

        With ``fit``, pictures are scaled, cropped and turned grey as the run needs them. Raises UserError if they do
        not fit the run.
        """
        raise UserError(f"{run.folder}: whole {self.items} are not read from files")

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False, fit: bool = False) -> Given:
        """Rows of a file in which some entries are known: those that ``mask`` does not cover. ``fit`` as for `rows`.

        Raises UserError if the file holds other data, or if nothing or everything in it is known.
        """
        raise UserError(f"{run.folder}: {self.items} of which some is known are not read from files")

    def low(self, run: Run, path: Path) -> tuple[Tensor, Operator]:
        """Pictures of fewer pixels, and what sees a sample so. Raises UserError for other kinds of data."""
        raise UserError(f"{run.folder}: makes {self.items}; only pictures have fewer pixels")

    def to_enlarge(self, run: Run, path: Path) -> Tensor:
        """Pictures of the size that a run was trained to enlarge. Raises UserError for other kinds of data."""
        raise UserError(f"{run.folder}: makes {self.items}; only pictures are enlarged")

    def left(self, run: Run, path: Path, mask: Path | None = None, fit: bool = False) -> Tensor:
        """What is left of pictures, of a file, as a run that restores them is told it: (count, *size) about [-1, 1].

        Raises UserError for other kinds of data.
        """
        raise UserError(f"{run.folder}: makes {self.items}; only pictures are restored")

    def grey(self, run: Run, path: Path, fit: bool = False) -> tuple[Tensor, Operator]:
        """Grey pictures, and what sees a sample so. Raises UserError for other kinds of data."""
        raise UserError(f"{run.folder}: makes {self.items}; only pictures have colours")


def check_some(given: Given, path: Path) -> Given:
    """The same rows. Raises UserError unless some entries are known and some are not."""
    if bool(given.known.all()):
        raise UserError(f"{path}: all of it is known, and nothing is left to draw; leave something out, or give --mask")
    if not bool(given.known.any()):
        raise UserError(f"{path}: nothing of it is known; to draw all, leave --known out")
    return given


def check_shape(x: Tensor, run: Run, path: Path) -> None:
    """Raises UserError if the rows x (count, *shape) differ in shape from the run's."""
    if tuple(x.shape[1:]) != run.shape:
        of, wanted = (" x ".join(map(str, shape)) for shape in (x.shape[1:], run.shape))
        raise UserError(f"{path}: of shape {of}, and this run makes {wanted}")
