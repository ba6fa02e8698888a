"""How good is a generated text? Its frequencies, its words, and whether it was copied.

All compare pieces of text, (count, length) tokens, each beside what held-out pieces get.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.data.alphabet import Alphabet, PretrainedTokenizer
from undiffuse.measure.floor import draw, in_their_place, summarise
from undiffuse.measure.report import Number, Report, Row

RUNS = (1, 2, 4)  # tokens, whose frequencies are compared
COPIED = 24  # tokens in a row, which are rarely written twice
WORDS = Number("words known", "higher", "the share of words, whole ones, that are anywhere in the training text")


def text_report(
    samples: Tensor, held_out: Tensor, train: Tensor, alphabet: Alphabet, seed: int = 0, draws: int = 3
) -> Report:
    """Samples (n, length) against held-out pieces, and against the training pieces; as many of each, drawn at random.

    Frequencies of single tokens, pairs and fours are compared by total variation; the floor is of training pieces in
    the samples' place, as no text is written alike from end to end. A word is known that some training piece has whole:
    as these overlap, any word inside the text that is shorter than a piece. Raises `UserError` for fewer than 2 pieces.
    """
    count = min(len(samples), len(held_out), len(train))
    if count < 2:
        raise UserError(f"a text is measured on at least 2 pieces, not {count}")
    generator = torch.Generator().manual_seed(seed)
    x, y = (draw(part, count, generator) for part in (samples, held_out))
    real = in_their_place(train, y, draws, generator)
    rows = []
    length = samples.shape[1]
    for run in (run for run in RUNS if run <= length):
        floor, number = summarise([variation(a, b, run) for a, b in real]), _frequencies(run)
        value = variation(x, y, run)
        rows.append(Row(number.name, value, floor.median, floor.spread, number.better, number.meaning))
    seen = coded(train, min(COPIED, length)).unique()
    copies = (float(torch.isin(coded(part, min(COPIED, length)), seen).double().mean()) for part in (x, y))
    number = _copied(min(COPIED, length))
    rows.append(Row(number.name, next(copies), next(copies), torch.nan, number.better, number.meaning))
    if not isinstance(alphabet, PretrainedTokenizer):
        words = set(_words(alphabet, train))
        shares = (_known(alphabet, part, words) for part in (x, y))
        rows.append(Row(WORDS.name, next(shares), next(shares), torch.nan, WORDS.better, WORDS.meaning))
    return Report(
        tuple(rows), {"samples": count, "held-out pieces": count, "training pieces": len(train), "seed": seed}
    )


def variation(x: Tensor, y: Tensor, run: int) -> float:
    """Total variation between the frequencies of all ``run`` tokens in a row: 0 to 1."""
    codes = coded(x, run), coded(y, run)
    both, where = torch.cat(codes).unique(return_inverse=True)
    ours, theirs = where.split([len(part) for part in codes])
    p, q = (part.bincount(minlength=len(both)).double() / len(part) for part in (ours, theirs))
    return float((p - q).abs().sum()) / 2


def coded(x: Tensor, run: int) -> Tensor:
    """Every ``run`` tokens in a row of pieces (count, length) as one number, a hash where 64 bits are too few.

    Token i of the run counts a factor f_i, odd and random: sum_i f_i x_i, modulo 2^64. Shape (count x windows,).
    """
    factors = torch.randint(2**62, (run,), generator=torch.Generator().manual_seed(run)) * 2 + 1
    windows = x.shape[1] - run + 1
    codes = torch.zeros(len(x), windows, dtype=torch.int64, device=x.device)
    for i, factor in enumerate(factors.tolist()):
        codes.add_(x[:, i : i + windows], alpha=factor)  # never (count, windows, run)
    return codes.flatten()


def _known(alphabet: Alphabet, x: Tensor, words: set[str]) -> float:
    """The share of the words of pieces that are known; 1 if there are no words."""
    found = list(_words(alphabet, x))
    return sum(word in words for word in found) / len(found) if found else 1.0


def _words(alphabet: Alphabet, x: Tensor) -> Iterator[str]:
    """The words of each piece without the first and the last, which may have been cut."""
    return (word for piece in x for word in alphabet.decode(piece).split()[1:-1])


def _frequencies(run: int) -> Number:
    what = {1: "single tokens", 2: "pairs of tokens"}.get(run, f"{run} tokens in a row")
    return Number(what, "lower", f"total variation between the frequencies of {what} in samples and held-out pieces")


def _copied(run: int) -> Number:
    return Number(
        f"{run} tokens copied", "near floor", f"the share of {run} tokens in a row that the training text has"
    )
