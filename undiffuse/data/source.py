"""Where data comes from, as plain values that a recipe can write down: ``source.open(split) -> Dataset``.

If a program can check the rows of a source, ``source.validity() -> (name, check)`` gives it; if the distribution is
known, ``source.entropy()`` is the entropy of a row in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from torch import Tensor

from undiffuse.condition.text import TextEncoder, Transformer
from undiffuse.core.errors import UserError
from undiffuse.core.paths import path_of
from undiffuse.data.between import between, gray, only, standard_normal
from undiffuse.data.captions import captioned
from undiffuse.data.conditioned import conditioned
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.digits import digits
from undiffuse.data.readers.documents import documents
from undiffuse.data.readers.hub import hub
from undiffuse.data.readers.large_cells import are_large
from undiffuse.data.readers.large_table import large_table
from undiffuse.data.readers.letters import letters
from undiffuse.data.readers.open import existing, open_data
from undiffuse.data.readers.series import long_form, wav_folder
from undiffuse.data.readers.table import read_table
from undiffuse.data.readers.text import Unit, shakespeare, text
from undiffuse.data.readers.well_known import known
from undiffuse.data.restored import restored
from undiffuse.data.smaller import smaller
from undiffuse.data.synthetic.checkable.arithmetic import Arithmetic
from undiffuse.data.synthetic.checkable.brackets import Brackets
from undiffuse.data.synthetic.checkable.sudoku import Sudoku
from undiffuse.data.synthetic.heartbeat import heartbeat
from undiffuse.data.synthetic.keyboard import valid
from undiffuse.data.synthetic.piano import piano
from undiffuse.data.synthetic.pulse import pulses
from undiffuse.data.synthetic.shapes.shapes import Questions, Told, questions, shapes
from undiffuse.data.synthetic.toys import toy
from undiffuse.data.task import Edges, Inpainting, SuperResolution

Validity = tuple[str, Callable[[Tensor], Tensor]]  # a name, and a check (count, *shape) -> (count,) bool


@dataclass(frozen=True)
class Toy:
    """``count`` points of a toy, drawn by ``seed``; the test split is as many fresh ones.

    The set is fixed, not drawn anew in every step, so that a run's data can be looked at and compared with its samples.
    With 100,000 points this makes no difference to a network of this size.
    """

    name: str = "swiss-roll"
    count: int = 100_000
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """The points. Raises UserError for an unknown toy."""
        return toy(self.name, self.count, self.seed, split)


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's handwritten digits, 8 x 8."""

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels."""
        return digits(split)


@dataclass(frozen=True)
class WellKnown:
    """A well-known data set, from ``path`` or a folder of data sets: mnist, fashion-mnist, cifar10."""

    formerly: ClassVar[str] = "Known"

    name: str = "mnist"
    path: str | None = None

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels. Raises UserError where they are not at hand."""
        return known(self.name, self.path, split)


@dataclass(frozen=True)
class Hub:
    """Pictures of a Hugging Face data set: its name on the hub, its folder or its parquet file.

    ``caption`` is the column of captions, if it is called neither text nor caption; ``text``, ``tokenizer`` are as of
    `Files`.
    """

    name: str
    size: int | tuple[int, int] | None = None
    image: str | None = None
    label: str | None = None
    caption: str | None = None
    text: TextEncoder = field(default_factory=Transformer)
    tokenizer: str | None = None

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels. Raises UserError if it cannot be loaded or holds no pictures."""
        read = partial(captioned, encoder=self.text, tokenizer=self.tokenizer)
        return hub(self.name, self.size, self.image, self.label, split, self.caption, read)

    def shaped(self, shape: tuple[int, ...]) -> Self:
        """Read to pictures of this shape."""
        return replace(self, size=(shape[-2], shape[-1]))


@dataclass(frozen=True)
class Letters:
    """Handwritten letters, from ``path`` or a folder of data sets; ``copies`` of each, deformed by ``seed``."""

    path: str | None = None
    copies: int = 20
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels. Raises UserError where they are not at hand."""
        return letters(self.path, self.copies, self.seed, split)


@dataclass(frozen=True)
class Piano:
    """``count`` pictures of keyboards, ``size`` (height, width), drawn by ``seed``, ``keys`` white keys across.

    A label is the first whole white key. The test split is as many fresh ones.
    """

    count: int = 20_000
    seed: int = 0
    size: tuple[int, int] = (24, 64)
    keys: float = 10.0

    def open(self, split: str = "train") -> Dataset:
        """The pictures. Raises UserError for pictures that are too few or too small."""
        return piano(self.count, self.seed, self.size, self.keys, split)

    def validity(self) -> Validity:
        """Whether a picture is a keyboard, exactly: groups of two and three black keys."""
        return "valid keyboards", valid


@runtime_checkable
class DrawnSource(Protocol):
    """A source whose data is drawn, so many rows as are wanted: a few to look at, without drawing them all."""

    @property
    def count(self) -> int:
        """How many rows a training has."""

    def few(self, count: int) -> "DrawnSource":
        """At most ``count`` rows, drawn alike."""

    def open(self, split: str = "train") -> Dataset:
        """The data."""


@dataclass(frozen=True)
class Shapes:
    """``count`` pictures of one to three shapes, ``size`` pixels a side, drawn by ``seed``, with ``captions`` each.

    ``text`` is what reads the captions; see `undiffuse.condition.text`. A model may be told labels instead of words:
    the attributes and the place of each thing. The test split is fresh scenes; some combinations of colour and shape
    are in neither.
    """

    count: int = 30_000
    size: int = 32
    seed: int = 0
    captions: int = 4
    told: Told = "words"
    text: TextEncoder = field(default_factory=Transformer)

    def open(self, split: str = "train") -> Dataset:
        """The pictures. Raises UserError for pictures that are too few or too small."""
        return shapes(self.count, self.size, self.seed, self.captions, self.told, self.text, split)

    def few(self, count: int) -> Self:
        """At most ``count`` pictures, drawn alike."""
        return replace(self, count=min(count, self.count))

    def questions(self) -> Questions:
        """Captions that were not trained on, and a checker that says which of their facts a picture shows."""
        return questions(self.count, self.size, self.seed, self.captions, self.told, self.text)


@dataclass(frozen=True)
class Files:
    """A file or folder of your own, as `open_data` reads it; ``size`` is for pictures in folders and .parquet files.

    ``condition`` names columns of points that are conditions of the others. ``text`` is what reads captions of pictures
    (see `undiffuse.condition.text`): their words, or the tokens of a Hugging Face ``tokenizer``.
    """

    path: str
    size: int | tuple[int, int] | None = None
    skip_unreadable: bool = False
    condition: tuple[str, ...] = ()
    text: TextEncoder = field(default_factory=Transformer)
    tokenizer: str | None = None

    def open(self, split: str = "train") -> Dataset:
        """The data. Raises UserError if it is missing or cannot be read."""
        if not self.condition:
            read = partial(captioned, encoder=self.text, tokenizer=self.tokenizer)
            return open_data(self.path, self.size, split, self.skip_unreadable, read)
        if existing(self.path).is_dir():
            raise UserError(f"{self.path}: conditions of pictures are in a conditions.csv beside them; leave them out")
        return conditioned(open_data(self.path, self.size, "all"), self.condition).part(split)

    def shaped(self, shape: tuple[int, ...]) -> Self:
        """Read to pictures of this shape."""
        return replace(self, size=(shape[-2], shape[-1])) if len(shape) == 3 else self


@dataclass(frozen=True)
class TableFile:
    """A .csv or .tsv file of numbers, dates and categories, as `read_table` reads it.

    ``types`` corrects the detected types of columns: age=number,zip=category (number, integer, date, category).
    ``header`` says whether the first line names the columns; ``names`` are the names if it does not.
    ``condition`` names columns that are conditions of the others.
    """

    formerly: ClassVar[str] = "Table"

    path: str = ""
    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    header: Literal["auto", "yes", "no"] = "auto"
    frequent: int = 255
    condition: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frequent < 1:
            raise UserError(f"frequent, the most categories of a column, must be at least 1, not {self.frequent}")

    def open(self, split: str = "train") -> Dataset:
        """The table; a tenth is held out, always the same. Raises UserError if it is missing or cannot be read."""
        if not self.path:
            raise UserError("which table? add --data people.csv")
        path = existing(self.path)
        how = self.types, self.names, self.header, self.frequent
        if are_large(path):
            check_split(split)
            if not self.condition:
                return large_table(path, *how, split)
            return conditioned(large_table(path, *how, "all"), self.condition).part(split)
        return conditioned(read_table(path, *how), self.condition).part(split)


@dataclass(frozen=True)
class TextFile:
    """A text file in pieces of ``length`` tokens: characters, bytes, or those of a Hugging Face ``tokenizer``.

    Or a folder of them, whose labels are a condition; see `undiffuse.data.readers.documents`.
    """

    formerly: ClassVar[str] = "Text"

    path: str = ""
    length: int = 128
    unit: Unit = "characters"
    tokenizer: str | None = None
    encoding: str = "utf-8"

    def open(self, split: str = "train") -> Dataset:
        """The pieces; the last tenth of the text is held out. Raises UserError if it is missing, or no text."""
        if not self.path:
            raise UserError("which text? add --data book.txt")
        path = existing(self.path)
        read = documents if path.is_dir() else text
        return read(path, self.length, self.unit, self.tokenizer, split, self.encoding)

    def shaped(self, shape: tuple[int, ...]) -> Self:
        """Read to pieces of this length."""
        return replace(self, length=shape[0])


@dataclass(frozen=True)
class Shakespeare:
    """A million characters of Shakespeare's plays, from ``path`` or a folder of data sets; see `TextFile`."""

    path: str | None = None
    length: int = 128
    unit: Unit = "characters"

    def open(self, split: str = "train") -> Dataset:
        """The pieces. Raises UserError where the text is not at hand."""
        return text(shakespeare(self.path), self.length, self.unit, split=split)


@dataclass(frozen=True)
class Heartbeat:
    """``count`` sequences of ``length`` bits with a beat every ``period``, all phases equally often."""

    count: int = 10_000
    length: int = 20
    period: int = 5

    def open(self, split: str = "train") -> Dataset:
        """The sequences; the test split is the same ones."""
        return heartbeat(self.count, self.length, self.period)

    def entropy(self) -> float:
        """The entropy of a sequence in nats: all phases are equally likely."""
        return math.log(self.period)


@dataclass(frozen=True)
class SeriesFiles:
    """A folder of .wav files, or a .csv in long form, of which the column ``by`` names the series.

    With a ``length``, each is cut into pieces of it; without, all to the shortest.
    """

    path: str = ""
    length: int | None = None
    by: str | None = None

    def open(self, split: str = "train") -> Dataset:
        """The series; a tenth is held out. Raises UserError if they are missing or cannot be read."""
        if not self.path:
            raise UserError("which series? add --data FOLDER or --data FILE.csv")
        path = existing(self.path)
        if path.is_dir():
            return wav_folder(path, self.length, split)
        return long_form(path, self.by, self.length, split)

    def shaped(self, shape: tuple[int, ...]) -> Self:
        """Read to pieces of this length."""
        return replace(self, length=shape[-1])


@dataclass(frozen=True)
class Pulse:
    """``count`` series of a slow or fast heart, ``length`` values each, drawn by ``seed``."""

    count: int = 10_000
    length: int = 128
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """The series. Raises UserError for too few or too short ones."""
        return pulses(self.count, self.length, self.seed, split)


@dataclass(frozen=True)
class Elsewhere:
    """Data that is not at hand: of a model that somebody else trained."""

    def open(self, split: str = "train") -> Dataset:
        """Raises UserError: there are no rows."""
        raise UserError("this model came without its data; say what stands for it: --data FOLDER")


Single = (
    Toy
    | Digits
    | WellKnown
    | Hub
    | Letters
    | Piano
    | Shapes
    | Files
    | TableFile
    | TextFile
    | Shakespeare
    | Heartbeat
    | Brackets
    | Sudoku
    | Arithmetic
    | SeriesFiles
    | Pulse
    | Elsewhere
)  # sources that are made of no other


@dataclass(frozen=True)
class Only:
    """The rows of another source that have one label."""

    of: Single
    label: str

    def open(self, split: str = "train") -> Dataset:
        """Those rows. Raises UserError for data without labels, or without this one."""
        return only(self.of.open(split), self.label)


@dataclass(frozen=True)
class Gray:
    """The pictures of another source without their colours, of as many channels."""

    of: Single

    def open(self, split: str = "train") -> Dataset:
        """Each pixel the mean of its channels. Raises UserError for other data than pictures of bytes."""
        return gray(self.of.open(split))


@dataclass(frozen=True)
class Smaller:
    """The pictures of another source with fewer pixels, a whole number of times ``fewer`` in each direction.

    Each pixel is the mean of the pixels in its place.
    """

    of: Single
    fewer: int

    def __post_init__(self) -> None:
        if self.fewer < 1:
            raise UserError(f"pictures are made smaller a whole number of times, at least 1, not {self.fewer}")

    def open(self, split: str = "train") -> Dataset:
        """The smaller pictures. Raises UserError for other data than pictures, and where their sides do not divide."""
        return smaller(self.of.open(split), self.fewer)


@dataclass(frozen=True)
class StandardNormal:
    """One end of a bridge that is N(0, I): where a bridge starts, drawn anew each time; where it ends, rows of it.

    ``count`` and ``seed`` are of the rows.
    """

    count: int = 100_000
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """Raises UserError: noise has the shape of the other end."""
        raise UserError("noise is one end of a bridge; give the other: undiffuse train noise --target DATA")


End = Single | Only | Gray | Smaller | StandardNormal  # of a bridge


@dataclass(frozen=True)
class Between:
    """Two data sets, and the way between them: a bridge starts at ``start`` and makes ``end``.

    With ``paired``, row i of one belongs to row i of the other. ``across`` are the conditions that stay the same on the
    way: without pairs labels that both data sets have, with pairs or from noise any of the end's.
    """

    start: End
    end: End
    paired: bool = False
    across: tuple[str, ...] = ()

    def open(self, split: str = "train") -> Dataset:
        """The end, with the start; other conditions are left out. Raises UserError where one cannot become the
        other."""
        if isinstance(self.start, StandardNormal) and isinstance(self.end, StandardNormal):
            raise UserError("both ends are noise; one of them must be data")
        if isinstance(self.start, StandardNormal):
            return between(None, self.end.open(split), self.paired, self.across)
        start = self.start.open(split)
        if isinstance(self.end, StandardNormal):
            return between(
                start, standard_normal(start, self.end.count, self.end.seed, split), self.paired, self.across
            )
        return between(start, self.end.open(split), self.paired, self.across)


TaskSource = SuperResolution | Inpainting | Edges


@dataclass(frozen=True)
class Restored:
    """The pictures of another source, with what a ``task`` leaves of each as their one condition."""

    of: Single
    task: TaskSource

    def open(self, split: str = "train") -> Dataset:
        """The pictures. Raises UserError for other data than pictures, and for sizes that the task is not for."""
        return restored(self.of.open(split), self.task)


Source = End | Between | Restored


@runtime_checkable
class InFiles(Protocol):
    """A source that lies in files of this machine, if ``path`` says where."""

    @property
    def path(self) -> str | None:
        """Where."""


def anywhere(source: Source) -> Source:
    """The same source in the words of any machine: without paths of this one, and `Elsewhere` for what only they
    name."""
    own: Any = source
    if isinstance(source, InFiles):
        has_a_name = any(field.name == "path" and field.default is None for field in fields(own))
        return replace(own, path=None) if has_a_name else Elsewhere()
    if isinstance(source, Hub) and path_of(source.name).exists():
        return Elsewhere()
    made_of = {field.name: inner for field in fields(own) if isinstance(inner := getattr(own, field.name), End)}
    return replace(own, **{name: anywhere(inner) for name, inner in made_of.items()})
