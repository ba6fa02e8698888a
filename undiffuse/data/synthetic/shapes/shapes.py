"""The data set: pictures of scenes with several captions each, and what a checker can ask of samples."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Labels, Numbers, Specification
from undiffuse.condition.text import TextEncoder
from undiffuse.condition.words import split
from undiffuse.core.errors import UserError, check_seed
from undiffuse.core.memory import require
from undiffuse.data.captions import NAME, captioned
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.synthetic.shapes.caption import COUNTS, NOUNS, OPENINGS, PLACES, RELATIONS
from undiffuse.data.synthetic.shapes.draw import draw
from undiffuse.data.synthetic.shapes.facts import Fact
from undiffuse.data.synthetic.shapes.scene import COLOURS, GROUNDS, MOST, SHAPES, SIZES, TEXTURES, Scenes, scenes
from undiffuse.data.synthetic.shapes.sentences import naming, sentence, whole

Told = Literal["words", "labels"]
HELD_OUT = 2_000  # scenes of the test split, and of those with combinations that are not trained on
SMALLEST = 16  # pixels: below that, nothing can be told apart
NEW = "combinations"  # the split of these
SAID = (sentence, whole)  # captions of a picture, in turn


class Question(NamedTuple):
    """Scenes that were not trained on: what samples are asked to show, as conditions and as captions."""

    x: Tensor
    conditions: Conditions
    captions: tuple[str, ...]


class Questions(NamedTuple):
    """What samples are asked, by name, and the checker of the answers: (pictures, captions) -> facts of each."""

    sets: dict[str, Question]
    check: Callable[[Tensor, Sequence[str]], list[list[Fact]]]


def shapes(count: int, size: int, seed: int, captions: int, told: Told, text: TextEncoder, split: str) -> Dataset:
    """``count`` pictures of ``size`` x ``size``, with ``captions`` each, or the labels of their things.

    The test split is `HELD_OUT` fresh scenes. Neither has the combinations of colour and shape in `scene.HELD_OUT`.

    Raises:
        UserError: Fewer than 2 pictures, no captions, a side below 16, or an unknown split.
    """
    check_split(split)
    check_seed(seed)
    if count < 2 or captions < 1:
        raise UserError(f"shapes: at least 2 pictures and 1 caption each, not {count} and {captions}")
    if size < SMALLEST:
        raise UserError(f"shapes: pictures need {SMALLEST} pixels a side, not {size}")
    require(24 * size * size * 512 + count * (3 * size * size + 4000), f"shapes: {count:,} pictures of {size} x {size}")
    if split == "all":
        raise UserError("shapes: the train and the test split are drawn apart; ask for one of them")
    return _dataset(count if split == "train" else HELD_OUT, size, seed, captions, told, text, split)


def questions(count: int, size: int, seed: int, captions: int, told: Told, text: TextEncoder) -> Questions:
    """The scenes of the test split whose caption was not trained on, and those with new combinations."""
    trained = {caption for several in _scenes(count, seed, captions, "train")[1] for caption in several}
    sets = {}
    for name, part in (("unseen captions", "test"), ("new combinations", NEW)):
        said = [several[0] for several in _scenes(HELD_OUT, seed, captions, part)[1]]
        rows = torch.tensor([k for k, caption in enumerate(said) if part == NEW or caption not in trained])
        data = _dataset(HELD_OUT, size, seed, captions, told, text, part).take(rows)
        assert data.conditions is not None
        sets[name] = Question(data.x, data.conditions, tuple(said[k] for k in rows.tolist()))
    from undiffuse.data.synthetic.shapes.checker import check  # which imports SciPy: slow, and for measuring alone

    return Questions(sets, check)


@lru_cache(maxsize=3)
def _dataset(count: int, size: int, seed: int, captions: int, told: Told, text: TextEncoder, split: str) -> Dataset:
    drawn, said = _scenes(count, seed, captions, split)
    x = draw(drawn, size)
    if told == "labels":
        return Dataset(x, *_labels(drawn), kind="pictures", name="shapes")
    of, entry, variants, _ = captioned(said, text, words=WORDS)
    conditions = Conditions({NAME: entry}, {} if variants is None else {NAME: variants})
    return Dataset(x, conditions, {NAME: of}, kind="pictures", name="shapes")


@lru_cache(maxsize=3)
def _scenes(count: int, seed: int, captions: int, split: str) -> tuple[Scenes, tuple[tuple[str, ...], ...]]:
    """Scenes and their captions; of new combinations, the first caption names the combination."""
    which = ("train", "test", NEW).index(split)
    generator, random = torch.Generator().manual_seed(3 * seed + which), Random(3 * seed + which)
    drawn = scenes(count, generator, held_out=split == NEW)
    said = []
    for things, ground in drawn.described():
        made = [naming(things[0], things, ground, random)] if split == NEW else []
        made += [SAID[k % 2](things, ground, random) for k in range(len(made), captions)]
        said.append(tuple(map(str, made)))
    return drawn, tuple(said)


def _labels(drawn: Scenes) -> tuple[Conditions, dict[str, Specification]]:
    """What there is, thing by thing, as labels and as numbers of the place; absent for a thing that is not there."""
    names = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "texture": TEXTURES}
    entries = {"ground": Entry(drawn.ground, torch.ones(len(drawn), dtype=torch.bool))}
    specifications: dict[str, Specification] = {"ground": Labels(GROUNDS)}
    for k in range(MOST):
        there = k < drawn.things
        for name, values in names.items():
            specifications[f"{name} {k + 1}"] = Labels(values)
            entries[f"{name} {k + 1}"] = Entry(getattr(drawn, name)[:, k], there)
        place = Numbers(("x", "y"), (0.5, 0.5), (0.25, 0.25), (0.0, 0.0), (1.0, 1.0))
        specifications[f"place {k + 1}"] = place
        entries[f"place {k + 1}"] = Entry(place.entry(drawn.centre[:, k].double()).values, there)
    return Conditions(entries), specifications


def _words() -> tuple[str, ...]:
    """Every word that a caption may have."""
    plural = [f"{noun}{'es' if noun.endswith('s') else 's'}" for noun in NOUNS]
    several = (*sum(RELATIONS.values(), ()), *PLACES, *OPENINGS, *COUNTS, *NOUNS, *plural)
    attributes = (*COLOURS, *SIZES, *TEXTURES, *GROUNDS)
    rest = "and but no not that is are on background ,"
    return tuple(sorted({word for text in (*several, *attributes, rest) for word in split(text)}))


WORDS = _words()
