"""Data of one's own: files and folders, the Hugging Face hub, and arrays that are not kept."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal, Self

from undiffuse.condition.text import TextEncoder, Transformer
from undiffuse.core.errors import UserError
from undiffuse.data.captions import captioned
from undiffuse.data.conditioned import conditioned
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.documents import documents
from undiffuse.data.readers.hub import hub
from undiffuse.data.readers.large_cells import are_large
from undiffuse.data.readers.large_table import large_table
from undiffuse.data.readers.open import existing, open_data
from undiffuse.data.readers.series import long_form, wav_folder
from undiffuse.data.readers.table import read_table
from undiffuse.data.readers.text import Unit, text


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
class Elsewhere:
    """Data that is not at hand: of a model that somebody else trained."""

    def open(self, split: str = "train") -> Dataset:
        """Raises UserError: there are no rows."""
        raise UserError("this model came without its data; say what stands for it: --data FOLDER")
