"""Text: pieces of so many tokens."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from undiffuse.codec.tokens import TokenCodec
from undiffuse.condition.read import Request
from undiffuse.core.errors import UserError, caution, usage
from undiffuse.core.files import write_text
from undiffuse.data.alphabet import Alphabet
from undiffuse.data.dataset import Dataset
from undiffuse.data.describe import pieces
from undiffuse.data.synthetic.checkable.checkable import HOLE, Checkable
from undiffuse.draw.animation import Frame
from undiffuse.draw.save import Rows, Writer, save_array
from undiffuse.draw.texts import film_of_texts
from undiffuse.evaluate.bits import token_bits
from undiffuse.evaluate.compare import Ruler
from undiffuse.evaluate.evaluate import Features, of_text
from undiffuse.kind.kind import Kind, Progress, Reporter
from undiffuse.measure.report import Report
from undiffuse.measure.text import variation
from undiffuse.run.gap import Gap
from undiffuse.run.given import Given
from undiffuse.run.run import Run, Samples
from undiffuse.run.write_on import context_of, write_on
from undiffuse.sampling.sampling import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image

RULE = "-" * 40  # between two texts
PRINTED = 3  # texts, on a terminal
IN_A_ROW = 4  # tokens that samplers are compared by
NOTHING_VALID = "no valid {} have this prompt; change what is known, or leave more open"
MASK = "\N{WHITE SQUARE}"  # what a token is shown as while it is masked


def save_text(rows: Rows, path: Path) -> None:
    """Texts one after the other, with a line between them, .txt."""
    write_text(path, f"\n{RULE}\n".join(texts(rows)) + "\n")


def texts(rows: Rows) -> list[str]:
    """The texts of tokens; a mask is shown as a white square."""
    assert rows.alphabet is not None
    return [read(rows.alphabet, piece) for piece in rows.x]


def read(alphabet: Alphabet, piece: Tensor) -> str:
    """The text of tokens (length,); a mask, which occurs only during sampling, is shown as a white square."""
    ends = [-1, *(piece == alphabet.size).nonzero()[:, 0].tolist(), len(piece)]
    return MASK.join(alphabet.decode(piece[start + 1 : stop]) for start, stop in pairwise(ends))


@dataclass(frozen=True)
class TextKind(Kind):
    """Pieces of text, (count, length) uint8 or int32, below the alphabet's size."""

    name: ClassVar[str] = "text"
    item: ClassVar[str] = "text"
    items: ClassVar[str] = "texts"
    called: ClassVar[str] = "pieces of {} tokens"
    writers: ClassVar[Mapping[str, Writer]] = {".txt": save_text, ".npy": save_array}
    shown: ClassVar[int] = 10
    filmed: ClassVar[int] = 1
    measured: ClassVar[int] = 200
    compared: ClassVar[int] = 500
    reported: ClassVar[int] = 256
    widths: ClassVar[tuple[int, ...]] = (96, 192, 288)
    enough: ClassVar[int] = 1_000

    def describe(self, data: Dataset) -> list[str]:
        """Some pieces."""
        return pieces(data)

    def made(self, run: Run, samples: Samples) -> Rows:
        """With the alphabet, to be read."""
        return Rows(samples.x, alphabet=codec_of(run).alphabet)

    def printed(self, rows: Rows) -> str:
        """The first few."""
        return f"\n{RULE}\n".join(texts(rows)[:PRINTED]) + f"\n{RULE}"

    def film(self, run: Run, states: Iterable[Frame], samples: Samples) -> "Iterator[Image]":
        """Text that un-diffuses."""
        return film_of_texts(states, codec_of(run).alphabet)

    def evaluate(
        self, run: Run, count: int, sampling: Sampling, target: str | None = None, features: Features = "judge"
    ) -> Report:
        """Bits a token of held-out text, and what samples are made of."""
        return of_text(run, count, sampling)

    def reporter(self, train: Dataset, held_out: Dataset, seed: int) -> Reporter:
        """Bits a token, and a text."""
        count = max(2, min(self.reported, len(held_out) // 2))
        data = held_out.take(torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))[:count])

        def report(run: Run) -> Progress:
            bits = token_bits(run, data, seed=seed)
            shown = texts(self.made(run, run.draw(1, None, run.sampling.override(seed=seed))))[0]
            line = f"{bits.mean:.3f} ± {bits.error:.2g} bits a token; {shown!r}"
            return Progress(line, {"bits a token": bits.mean, "standard error": bits.error})

        return report

    def ruler(self, run: Run, train: Dataset, test: Dataset) -> Ruler:
        """How often tokens stand in a row."""
        length = min(IN_A_ROW, test.x.shape[1])
        return Ruler(f"total variation of {length} tokens in a row", partial(variation, run=length), "the text itself")

    @usage()
    def prompt(self, run: Run, text: str, hole: str = HOLE) -> Given:
        """A text that is known except at each ``hole`` and after its end.

        Raises UserError if the text is longer than the run's samples, has characters that the run never saw, or is
        completed by nothing valid where a program can tell.
        """
        if len(hole) != 1:
            raise UserError(f"a hole is one character, not {hole!r}")
        codec = codec_of(run)
        tokens: list[int] = []
        known: list[bool] = []
        for k, part in enumerate(text.split(hole)):
            spelled = codec.alphabet.encode(part).tolist() if part else []
            tokens += [0] * (k > 0) + spelled
            known += [False] * (k > 0) + [True] * len(spelled)
        rest = codec.shape[0] - len(tokens)
        if rest < 0:
            raise UserError(
                f"this prompt has {len(tokens)} tokens, and what the run makes has {codec.shape[0]}; shorten it"
            )
        source = run.recipe.data
        if isinstance(source, Checkable) and not source.completable(text.replace(hole, HOLE) + HOLE * rest):
            raise UserError(NOTHING_VALID.format(source.items))
        return Given(torch.tensor([tokens + [0] * rest]), torch.tensor([known + [False] * rest]))

    @usage()
    def gap(self, run: Run, text: str, sign: str) -> Gap:
        """A text that is known except for a gap of unknown length, at the ``sign``.

        Raises UserError unless there is one gap, if the text does not fit, has characters that the run never saw or
        that nothing valid completes, and for a network of blocks.
        """
        codec, parts = codec_of(run), text.split(sign) if sign else []
        if len(parts) != 2:
            raise UserError(f"a gap is one {sign!r} in the prompt; there are {max(0, len(parts) - 1)}")
        if run.denoiser.block is not None:
            raise UserError("a network of blocks does not see what comes after a gap; train without --net.block")
        before, after = (codec.alphabet.encode(part) if part else torch.zeros(0, dtype=torch.long) for part in parts)
        rest = codec.shape[0] - len(before) - len(after)
        if rest < 0:
            raise UserError(
                f"around this gap are {len(before) + len(after)} tokens, and what the run makes has {codec.shape[0]}"
            )
        source = run.recipe.data
        if isinstance(source, Checkable) and not any(
            source.completable(parts[0] + HOLE * n + parts[1] + HOLE * (rest - n)) for n in range(rest + 1)
        ):
            raise UserError(NOTHING_VALID.format(source.items))
        return Gap(before, after)

    def write_on(self, run: Run, prompt: str, tokens: int, sampling: Sampling, conditions: Request) -> Iterator[str]:
        """Text after a prompt. A prompt that is longer than what the run sees of it is noted."""
        codec = codec_of(run)
        with usage():
            known = codec.alphabet.encode(prompt).long() if prompt else torch.zeros(0, dtype=torch.long)
        if len(known) > context_of(run):
            caution(f"the prompt has {len(known):,} tokens, of which the run sees the last {context_of(run):,}")
        drawn, written = torch.zeros(0, dtype=torch.long), 0
        for piece in write_on(run, known, tokens, 1, sampling, conditions):
            drawn = torch.cat([drawn, piece[0].long()])
            text = read(codec.alphabet, drawn)
            yield text[written:]
            written = len(text)

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False, fit: bool = False) -> Given:
        """A .txt with a hole, _, for each token that is to be drawn."""
        if mask is not None:
            raise UserError(f"what is not known of a text is {HOLE} in its file; leave --mask out")
        try:
            return self.prompt(run, path.read_text(encoding="utf-8").rstrip("\n"), HOLE)
        except UnicodeDecodeError:
            raise UserError(f"{path}: not a text file") from None


def codec_of(run: Run) -> TokenCodec:
    """The codec of a run of text. Raises UserError for a run of anything else."""
    if not isinstance(run.codec, TokenCodec):
        raise UserError(f"{run.folder}: makes {run.kind}, not text")
    return run.codec
