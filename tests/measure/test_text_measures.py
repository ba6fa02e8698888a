"""What a text is made of: words, and tokens in a row, counted without more memory than the text takes."""

import random

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from undiffuse.data.alphabet import Characters
from undiffuse.measure.text import coded, text_report

ALPHABET = Characters.of("abc ")
LENGTH = 40


def written(words: int, seed: int) -> Tensor:
    """So many words of one to six letters."""
    draw = random.Random(seed)
    return ALPHABET.encode(" ".join("".join(draw.choices("abc", k=draw.randint(1, 6))) for _ in range(words)))


def pieces(text: Tensor, step: int) -> Tensor:
    return text.unfold(0, LENGTH, step)


def test_a_word_is_known_that_the_training_text_has():
    """And no other: not one that two of its pieces, which overlap, make when they are joined."""
    text, samples = written(600, seed=0), pieces(written(600, seed=1), LENGTH)[:50]
    known = set(ALPHABET.decode(text).split())
    words = [word for piece in samples for word in ALPHABET.decode(piece).split()[1:-1]]
    report = text_report(samples, pieces(text, LENGTH), pieces(text, LENGTH // 8), ALPHABET)
    assert report["words known"].value == sum(word in known for word in words) / len(words)
    assert report["words known"].floor == 1


def test_the_same_seed_measures_the_same():
    held_out, train, samples = (pieces(written(1000, seed), LENGTH) for seed in range(3))
    one, other = (text_report(samples[:20], held_out[:20], train, ALPHABET, seed=3) for _ in range(2))
    assert [(row.value, row.floor) for row in one.rows[:3]] == [(row.value, row.floor) for row in other.rows[:3]]


def test_tokens_in_a_row_are_one_number_each():
    x = torch.randint(0, 3, (50, 12), dtype=torch.uint8)
    for run in (1, 2, 5, 12):
        windows = x.unfold(1, run, 1).reshape(-1, run)
        same = (windows[:, None] == windows[None]).all(-1)
        codes = coded(x, run)
        assert ((codes[:, None] == codes[None]) == same).all()


class Largest(TorchDispatchMode):
    """The most bytes that one tensor takes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return made


def test_runs_are_coded_without_a_copy_of_each():
    x = torch.randint(0, 60, (200, 128), dtype=torch.uint8)
    with Largest() as largest:
        coded(x, 24)
    assert largest.bytes <= 8 * x.numel()
