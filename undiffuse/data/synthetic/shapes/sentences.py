"""What to say of a scene: several true sentences, drawn at random, of many forms."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from undiffuse.condition.words import split
from undiffuse.data.synthetic.shapes.caption import OPENINGS, RELATIONS, Asked, Caption
from undiffuse.data.synthetic.shapes.facts import FAR, fits, is_related, third
from undiffuse.data.synthetic.shapes.scene import COLOURS, SHAPES, TEXTURES, Thing

LONGEST = 20  # words and commas of a sentence
CLEAR = 0.03  # how far from the border of a third a thing must be for its place to be said


def sentence(things: Sequence[Thing], ground: str, random: Random) -> Caption:
    """A true sentence about some or all of the things of a scene, of at most `LONGEST` words."""
    said = _sentence(things, ground, random)
    while len(split(str(said))) > LONGEST:
        said = _sentence(things, ground, random)
    return said


def _sentence(things: Sequence[Thing], ground: str, random: Random) -> Caption:
    chosen = random.sample(things, random.choice(range(1, len(things) + 1)))
    relation, absent = None, None
    counted = _counted(things, random)
    if counted and random.random() < 0.5:
        others = [thing for thing in things if not fits(counted, thing)]
        said = [
            counted,
            *(_described(thing, random) for thing in random.sample(others, random.randint(0, len(others)))),
        ]
    elif len(chosen) > 1 and (related := _related(chosen, random)):
        (first, second), relation = related
        others = [thing for thing in chosen if thing is not first and thing is not second]
        said = [_described(thing, random) for thing in (first, second, *others)]
    elif len(chosen) == 1:
        said = [_placed(chosen[0], _described(chosen[0], random), random)]
    else:
        said = [_described(thing, random) for thing in chosen]
    if random.random() < 0.12:
        absent = _absent(things, random)
    plural = said[0].number > 1
    opening = random.choice([o for o in OPENINGS if o != ("there is " if plural else "there are ")] + [""] * 3)
    tone = ground if random.random() < 0.15 else None
    wording = random.randrange(len(RELATIONS[relation])) if relation else 0
    return Caption(tuple(said), relation, absent, tone, opening, wording)


def whole(things: Sequence[Thing], ground: str, random: Random) -> Caption:
    """All attributes of all things and then, as far as `LONGEST` words go, their places and the ground."""
    order = random.sample(things, len(things))
    said = tuple(Asked(1, one.shape, one.colour, one.size, one.texture) for one in order)
    caption = Caption(said, opening=random.choice([opening for opening in OPENINGS if opening != "there are "]))
    for k in random.sample(range(len(order)), len(order)):
        placed = (*caption.things[:k], _at_its_place(order[k], caption.things[k]), *caption.things[k + 1 :])
        caption = _if_short(replace(caption, things=placed), caption)
    return _if_short(replace(caption, ground=ground), caption)


def _if_short(longer: Caption, caption: Caption) -> Caption:
    return longer if len(split(str(longer))) <= LONGEST else caption


def naming(thing: Thing, things: Sequence[Thing], ground: str, random: Random) -> Caption:
    """A true sentence about things of a scene, in which the shape and colour of this one are named."""
    while True:
        said = sentence(things, ground, random)
        if any((asked.shape, asked.colour) == (thing.shape, thing.colour) for asked in said.things):
            return said


def _described(thing: Thing, random: Random) -> Asked:
    """A thing by its shape and some of its attributes, or by what it is not."""
    colour, size, texture = (
        value if random.random() < often else None
        for value, often in ((thing.colour, 0.85), (thing.size, 0.4), (thing.texture, 0.45))
    )
    shape = thing.shape if random.random() < 0.95 or colour is None else None
    unlike = None
    if random.random() < 0.08:
        missing = [word for word in TEXTURES if word != thing.texture] if texture is None else []
        missing += [word for word in COLOURS if word != thing.colour] if colour is None else []
        unlike = random.choice(missing) if missing else None
    return Asked(1, shape, colour, size, texture, None, unlike)


def _placed(thing: Thing, asked: Asked, random: Random) -> Asked:
    """With its place, if that is beyond doubt, every other time."""
    placed = _at_its_place(thing, asked)
    return placed if placed.place and random.random() < 0.5 else asked


def _at_its_place(thing: Thing, asked: Asked) -> Asked:
    """With its place, if that is beyond doubt."""
    clear = all(abs(at - border) > CLEAR for at in (thing.x, thing.y) for border in (1 / 3, 2 / 3))
    return asked._replace(place=third(thing)) if clear else asked


def _counted(things: Sequence[Thing], random: Random) -> Asked | None:
    """Two or three things of one shape, or of one shape and colour, if there are."""
    kinds = [Asked(shape=a.shape, colour=colour) for a in things for colour in (a.colour, None)]
    several = [kind._replace(number=n) for kind in kinds if (n := sum(fits(kind, thing) for thing in things)) > 1]
    return random.choice(several) if several else None


def _related(things: Sequence[Thing], random: Random) -> tuple[tuple[Thing, Thing], str] | None:
    """Two things and how the first lies to the second, if that is beyond doubt."""
    pairs = [(a, b) for a in things for b in things if a is not b]
    found = [(pair, name) for pair in pairs for name in RELATIONS if is_related(*pair, name, FAR)]
    within = [one for one in found if one[1] == "inside"]
    return random.choice(within or found) if found else None


def _absent(things: Sequence[Thing], random: Random) -> Asked | None:
    """A kind of which there is nothing: a shape, a colour, or both."""
    kinds = [Asked(0, shape) for shape in SHAPES] + [Asked(0, None, colour) for colour in COLOURS]
    kinds += [Asked(0, random.choice(SHAPES), random.choice(COLOURS))]
    left = [kind for kind in kinds if not any(fits(kind, thing) for thing in things)]
    return random.choice(left) if left else None
