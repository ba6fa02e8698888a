"""Where data comes from, as plain values that a recipe can write down: ``source.open(split) -> Dataset``.

`undiffuse.data.ready` and `undiffuse.data.own` have those that are made of no other; here are all of them, and those
that are made of others: parts, ends of a bridge, pictures to restore.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

from undiffuse.core.errors import UserError
from undiffuse.core.paths import path_of
from undiffuse.data.between import between, gray, only, standard_normal
from undiffuse.data.dataset import Dataset
from undiffuse.data.own import Elsewhere, Files, Hub, SeriesFiles, TableFile, TextFile
from undiffuse.data.ready import Digits, Heartbeat, Letters, Piano, Pulse, Shakespeare, Shapes, Toy, WellKnown
from undiffuse.data.restored import restored
from undiffuse.data.smaller import smaller
from undiffuse.data.synthetic.checkable.arithmetic import Arithmetic
from undiffuse.data.synthetic.checkable.brackets import Brackets
from undiffuse.data.synthetic.checkable.sudoku import Sudoku
from undiffuse.data.task import Edges, Inpainting, SuperResolution

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
