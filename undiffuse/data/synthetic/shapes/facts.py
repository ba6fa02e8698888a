"""Which facts of a caption hold of some things: those of a scene, or those that the checker read from a picture.

Each attribute that a caption says of one thing is a fact, and so are each count, relation, absence and ground:

    a small red circle left of two squares     circle, red, small; two squares; left

Which thing a caption means is not known: things are assigned to its descriptions so that most facts hold.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from undiffuse.data.synthetic.shapes.caption import Asked, Caption
from undiffuse.data.synthetic.shapes.scene import COLOURS, Thing

NEAR, FAR = 0.04, 0.2  # how far beside another a thing lies: to count as beside it, and for a sentence to say so
BESIDE = {  # by how much
    "left": lambda a, b: b.x - a.x,
    "right": lambda a, b: a.x - b.x,
    "above": lambda a, b: b.y - a.y,
    "below": lambda a, b: a.y - b.y,
}
ATTRIBUTES = ("colour", "size", "texture")


class Fact(NamedTuple):
    """One thing that a caption says."""

    sort: str  # shape, colour, size, texture, not (an attribute), place, relation, count, none (of a kind) or ground
    words: str
    holds: bool


def facts(caption: Caption, things: Sequence[Thing], ground: str | None) -> list[Fact]:
    """Each fact of a caption, and whether it holds."""
    several = [asked for asked in (*caption.things, caption.absent) if asked is not None and asked.number != 1]
    found = [
        Fact(
            "count" if asked.number else "none", str(asked), sum(fits(asked, thing) for thing in things) == asked.number
        )
        for asked in several
    ]
    if caption.ground:
        found.append(Fact("ground", f"on {caption.ground}", ground == caption.ground))
    single = [asked for asked in caption.things if asked.number == 1]
    options = permutations([*things, *[None] * len(single)], len(single))
    told = (list(_told(caption.relation, single, chosen)) for chosen in options)
    return found + max(told, key=lambda several: sum(fact.holds for fact in several))


def _told(relation: str | None, single: Sequence[Asked], chosen: Sequence[Thing | None]) -> Iterator[Fact]:
    """The facts of single things, if these were chosen for them."""
    for asked, thing in zip(single, chosen, strict=True):
        yield Fact("shape", asked.shape or "shape", thing is not None and asked.shape in (None, thing.shape))
        for name in ATTRIBUTES:
            if (word := getattr(asked, name)) is not None:
                yield Fact(name, word, thing is not None and getattr(thing, name) == word)
        if asked.unlike:
            yield Fact("not", f"not {asked.unlike}", thing is not None and _differs(asked.unlike, thing))
        if asked.place:
            yield Fact("place", asked.where, thing is not None and third(thing) == asked.place)
    if relation:
        a, b = chosen[:2]
        yield Fact("relation", relation, a is not None and b is not None and is_related(a, b, relation))


def fits(asked: Asked, thing: Thing) -> bool:
    """Whether a thing has the attributes that were asked for."""
    return (
        asked.shape in (None, thing.shape)
        and asked.colour in (None, thing.colour)
        and asked.size in (None, thing.size)
        and asked.texture in (None, thing.texture)
    )


def _differs(word: str, thing: Thing) -> bool:
    """Whether the colour or texture of a thing was read, and is another."""
    own = thing.colour if word in COLOURS else thing.texture
    return own is not None and own != word


def is_related(a: Thing, b: Thing, relation: str, by: float = NEAR) -> bool:
    """Whether a lies to b as a relation says, by at least so much of the picture's side."""
    if relation == "inside":
        return a.radius < b.radius and max(abs(a.x - b.x), abs(a.y - b.y)) < 0.6 * b.radius
    return BESIDE[relation](a, b) >= by


def third(thing: Thing) -> tuple[int, int]:
    """The column and row of the picture's thirds in which the middle of a thing lies."""
    return min(2, int(3 * thing.x)), min(2, int(3 * thing.y))
