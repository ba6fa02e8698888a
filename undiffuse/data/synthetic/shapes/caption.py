"""Sentences about a scene, as a value, and back: `Caption.read(str(caption))` says the same.

    a small red circle to the left of a striped square, on a black background
    two crosses and a large yellow triangle
    a blue square that is not striped, but no circles

In full, with | between choices and [] around what may be left out:

    caption   [opening] (what is there) [, but no NOUNS] [, on a GROUND background]
    there     A | A and B | A, B and C | A RELATION B [, and C] | A PLACE
    A         (a | an | two | three) [size] [texture] [colour] noun [that is not ATTRIBUTE]
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from undiffuse.core.errors import UserError
from undiffuse.data.synthetic.shapes.scene import COLOURS, GROUNDS, SHAPES, SIZES, TEXTURES

NOUNS = {**{shape: shape for shape in SHAPES}, "shape": None}  # None: whichever
COUNTS = {"a": 1, "an": 1, "two": 2, "three": 3}
RELATIONS = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "inside": ("inside",),
}
PLACES = {  # (column, row) of the thirds of a picture
    "on the left": (0, 1),
    "on the right": (2, 1),
    "at the top": (1, 0),
    "at the bottom": (1, 2),
    "in the middle": (1, 1),
    "at the top left": (0, 0),
    "at the top right": (2, 0),
    "at the bottom left": (0, 2),
    "at the bottom right": (2, 2),
}
OPENINGS = ("", "there is ", "there are ", "a picture of ")


class Asked(NamedTuple):
    """Things of one kind; None is whichever. With a ``number`` of 1 at least one is meant, else exactly so many."""

    number: int = 1
    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    texture: str | None = None
    place: tuple[int, int] | None = None
    unlike: str | None = None  # a colour or a texture that they do not have

    def __str__(self) -> str:
        noun = next(noun for noun, shape in NOUNS.items() if shape == self.shape)
        if self.number != 1:
            noun += "es" if noun.endswith("s") else "s"
        words = " ".join(filter(None, (self.size, self.texture, self.colour, noun)))
        article = {1: "an" if words[0] in "aeiou" else "a", 0: "no", 2: "two", 3: "three"}[self.number]
        unlike = f" that {'is' if self.number == 1 else 'are'} not {self.unlike}" if self.unlike else ""
        return " ".join(filter(None, (f"{article} {words}{unlike}", self.where)))

    @property
    def where(self) -> str:
        """Its place in words."""
        return next((name for name, place in PLACES.items() if place == self.place), "")

    @classmethod
    def read(cls, text: str) -> Self:
        """The inverse of `str`. Raises UserError for other words."""
        found = THING.fullmatch(text.strip())
        if found is None:
            raise UserError(f"{text.strip()!r} is not understood; say as: a small striped red circle on the left")
        noun = next(noun for noun in NOUNS if found["noun"].startswith(noun))
        words = {name: found[name] for name in ("colour", "size", "texture", "unlike")}
        return cls(COUNTS.get(found["count"], 0), NOUNS[noun], **words, place=PLACES.get(found["place"]))


def _any(words: object) -> str:
    return "|".join(map(re.escape, words))  # type: ignore[call-overload]  # any words


THING = re.compile(
    rf"(?:(?P<count>{_any([*COUNTS, 'no'])}) )?(?:(?P<size>{_any(SIZES)}) )?(?:(?P<texture>{_any(TEXTURES)}) )?"
    rf"(?:(?P<colour>{_any(COLOURS)}) )?(?P<noun>(?:{_any(NOUNS)})(?:e?s)?)"
    rf"(?: that (?:is|are) not (?P<unlike>{_any([*COLOURS, *TEXTURES])}))?(?: (?P<place>{_any(PLACES)}))?"
)
RELATION = re.compile(rf" ({_any(sorted(sum(RELATIONS.values(), ()), key=len, reverse=True))}) ")
GROUND = re.compile(rf",? on an? ({_any(GROUNDS)}) background$")
OPENING = re.compile(rf"^({_any(filter(None, OPENINGS))})")
NAMED = {words: name for name, several in RELATIONS.items() for words in several}


@dataclass(frozen=True)
class Caption:
    """What a sentence says.

    Attributes:
        things: What is there.
        relation: Of the first thing to the second, one of `RELATIONS`.
        absent: What is not there.
        ground: The colour of the ground.
        opening, wording: How it is said: the first words, and which of a relation's wordings.
    """

    things: tuple[Asked, ...]
    relation: str | None = None
    absent: Asked | None = None
    ground: str | None = None
    opening: str = ""
    wording: int = 0

    def __str__(self) -> str:
        first, *others = map(str, self.things)
        if self.relation:
            second, *others = others
            said = ", and ".join([f"{first} {RELATIONS[self.relation][self.wording]} {second}", *others])
        else:
            *most, last = first, *others
            said = f"{', '.join(most)} and {last}" if most else last
        said += f", but {self.absent}" if self.absent else ""
        said += f", on a {self.ground} background" if self.ground else ""
        return self.opening + said

    @classmethod
    def read(cls, text: str) -> Self:
        """The inverse of `str`, for any sentence of this form. Raises UserError for another, naming what is not
        understood."""
        said = " ".join(text.lower().strip().rstrip(".").split())
        opening = OPENING.match(said)
        said = OPENING.sub("", said)
        ground = GROUND.search(said)
        said, _, absent = GROUND.sub("", said).partition(", but ")
        pieces = re.split(r", and |, | and ", said)
        relation = RELATION.split(pieces[0])
        if len(relation) == 3:
            pieces[0:1] = [relation[0], relation[2]]
        return cls(
            tuple(map(Asked.read, pieces)),
            NAMED[relation[1]] if len(relation) == 3 else None,
            Asked.read(absent) if absent else None,
            ground[1] if ground else None,
            opening[0] if opening else "",
            RELATIONS[NAMED[relation[1]]].index(relation[1]) if len(relation) == 3 else 0,
        )
