"""Shapes: scenes, what is said of them, and a checker that reads it back from the picture."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undiffuse.condition.words import split
from undiffuse.core.errors import UserError
from undiffuse.data.ready import Shapes
from undiffuse.data.synthetic.shapes.caption import OPENINGS, PLACES, RELATIONS, Asked, Caption
from undiffuse.data.synthetic.shapes.checker import check, read
from undiffuse.data.synthetic.shapes.draw import cover, draw
from undiffuse.data.synthetic.shapes.facts import facts
from undiffuse.data.synthetic.shapes.scene import COLOURS, GROUNDS, HELD_OUT, SHAPES, SIZES, TEXTURES, Thing, scenes
from undiffuse.data.synthetic.shapes.sentences import LONGEST, sentence, whole
from undiffuse.data.synthetic.shapes.shapes import WORDS

COUNT = 250


@pytest.fixture(scope="module")
def some():
    """Scenes, their things and grounds, and a caption of each."""
    drawn = scenes(COUNT, torch.Generator().manual_seed(5))
    described, random = drawn.described(), Random(5)
    return drawn, described, [str(sentence(*one, random)) for one in described]


def share(found):
    every = [fact.holds for one in found for fact in one]
    return sum(every) / len(every)


@pytest.mark.parametrize("side", [64, 32])
def test_the_checker_reads_what_was_drawn(some, side):
    drawn, described, captions = some
    assert share(check(draw(drawn, side), captions)) >= 0.99
    found = read(draw(drawn, side))
    assert (
        sum(len(one.things) == len(things) for one, (things, _) in zip(found, described, strict=True)) >= 0.99 * COUNT
    )
    assert all(one.ground == ground for one, (_, ground) in zip(found, described, strict=True))


def test_at_16_pixels_it_reads_colours_places_and_most_shapes_but_no_textures(some):
    drawn, _, captions = some
    held: dict[str, list[bool]] = {}
    for one in check(draw(drawn, 16), captions):
        for sort, _, holds in one:
            held.setdefault(sort, []).append(holds)
    right = {kind: sum(one) / len(one) for kind, one in held.items()}
    assert min(right["colour"], right["place"], right["size"], right["relation"]) >= 0.95
    assert right["shape"] >= 0.85
    assert right["texture"] < 0.8


def test_captions_of_other_pictures_are_mostly_wrong(some):
    """The floor: what a picture that has nothing to do with its caption gets."""
    drawn, _, captions = some
    found = check(draw(drawn, 32), captions[1:] + captions[:1])
    assert 0.25 < share(found) < 0.5
    assert sum(all(fact.holds for fact in one) for one in found) / COUNT < 0.12


def test_what_is_said_of_a_scene_holds(some):
    _, described, captions = some
    for (things, ground), caption in zip(described, captions, strict=True):
        assert all(fact.holds for fact in facts(Caption.read(caption), things, ground)), (caption, things)


def test_every_kind_of_sentence_is_said(some):
    _, described, _ = some
    random = Random(0)
    said = [sentence(*one, random) for one in described for _ in range(12)]
    assert {one.relation for one in said} == {None, *RELATIONS}
    assert {one.ground for one in said} == {None, *GROUNDS}
    assert {one.opening for one in said} == set(OPENINGS)
    assert {asked.number for one in said for asked in one.things} == {1, 2, 3}
    assert {asked.place for one in said for asked in one.things} == {None, *PLACES.values()}
    assert any(asked.unlike for one in said for asked in one.things) and any(one.absent for one in said)
    words = {word for one in said for word in split(str(one))}
    assert words == set(WORDS)
    assert max(len(split(str(one))) for one in said) <= LONGEST


def test_a_whole_caption_says_all_that_there_is(some):
    """Every attribute of everything; of some two things both places."""
    _, described, _ = some
    random, placed = Random(0), []
    for things, ground in described:
        said = whole(things, ground, random)
        assert all(fact.holds for fact in facts(said, things, ground)) and len(split(str(said))) <= LONGEST
        assert Caption.read(str(said)) == said
        named = sorted((one.shape, one.colour, one.size, one.texture) for one in said.things)
        assert named == sorted((one.shape, one.colour, one.size, one.texture) for one in things)
        placed.append(sum(one.place is not None for one in said.things))
    assert {0, 1, 2} == set(placed)


asked = st.builds(
    Asked,
    st.integers(1, 3),
    st.sampled_from([None, *SHAPES]),
    st.sampled_from([None, *COLOURS]),
    st.sampled_from([None, *SIZES]),
    st.sampled_from([None, *TEXTURES]),
    st.sampled_from([None, *PLACES.values()]),
    st.sampled_from([None, *COLOURS, *TEXTURES]),
)
captions = st.builds(
    Caption,
    st.lists(asked, min_size=2, max_size=3).map(tuple),
    st.sampled_from([None, *RELATIONS]),
    st.none() | asked.map(lambda one: one._replace(number=0)),
    st.sampled_from([None, *GROUNDS]),
    st.sampled_from(OPENINGS),
)


@settings(max_examples=200, deadline=None)
@given(captions)
def test_a_caption_is_read_as_it_is_written(caption):
    assert Caption.read(str(caption)) == caption
    assert Caption.read(f" {str(caption).upper()} . ") == caption


@pytest.mark.parametrize("text", ["", "a red dog", "red", "a circle near a square", "a circle and"])
def test_other_words_are_refused(text):
    with pytest.raises(UserError, match="not understood"):
        Caption.read(text)


RED, BLUE = (
    Thing("circle", "red", "small", "plain", 0.2, 0.5, 0.12),
    Thing("square", "blue", "large", "striped", 0.7, 0.5, 0.2),
)


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("a small red circle to the left of a large striped blue square", []),
        ("a blue square right of a red circle, but no triangles", []),
        ("a red square", ["square"]),  # of a red circle and a blue square, either has one of the two
        ("a blue square above a red circle", ["above"]),
        ("two circles", ["two circles"]),
        ("a red circle and a green circle", ["circle", "green"]),
        ("a circle in the middle", ["in the middle"]),
        ("a circle, but no squares", ["no squares"]),
        ("a large blue square that is not striped", ["not striped"]),
        ("a square that is not plain, on a white background", ["on white"]),
        ("a circle inside a square", ["inside"]),
    ],
)
def test_each_fact_that_does_not_hold_is_named(caption, wrong):
    found = facts(Caption.read(caption), [RED, BLUE], "grey")
    assert sorted(fact.words for fact in found if not fact.holds) == sorted(wrong)


def test_a_shape_covers_its_area():
    """Whatever the resolution: the share of the pixels that it covers is that of finer ones."""
    for shape in SHAPES:
        fine, coarse = (cover(shape, torch.tensor([[0.43, 0.56]]), torch.tensor([0.2]), side)[0] for side in (512, 32))
        assert float(coarse.mean()) == pytest.approx(float(fine.mean()), rel=0.03)


def test_two_things_never_touch_and_one_inside_lies_within():
    drawn = scenes(2000, torch.Generator().manual_seed(1))
    distance = (drawn.centre[:, :, None] - drawn.centre[:, None]).norm(dim=3)
    there = torch.arange(3) < drawn.things[:, None]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = there[:, a] & there[:, b] & ~(drawn.inside if b == 1 else torch.zeros(2000, dtype=torch.bool))
        assert (distance[both, a, b] >= drawn.radius[both, a] + drawn.radius[both, b] + 0.069).all()
    within = drawn.inside
    assert (distance[within, 0, 1] + drawn.radius[within, 0] < drawn.radius[within, 1]).all()
    assert (drawn.centre - drawn.radius[..., None] > 0)[there].all()
    assert 0.07 < float(within.float().mean()) < 0.15


def test_some_combinations_are_in_no_picture_of_the_training():
    data = Shapes(count=3000)
    pairs = {
        (thing.colour, thing.shape)
        for split_ in ("train", "test")
        for things, _ in scenes(3000, torch.Generator().manual_seed(len(split_))).described()
        for thing in things
    }
    assert len(pairs) == len(COLOURS) * len(SHAPES) - len(HELD_OUT)
    assert not pairs & set(HELD_OUT)
    for caption in data.questions().sets["new combinations"].captions:
        named = {(one.colour, one.shape) for one in Caption.read(caption).things}
        assert named & set(HELD_OUT), caption


def test_the_data_set_has_several_captions_and_questions_that_it_was_not_trained_on():
    data = Shapes(count=300, captions=3)
    train, again = data.open(), Shapes(count=300, captions=3, size=16).open()
    assert train.x.shape == (300, 3, 32, 32) and again.x.shape == (300, 3, 16, 16)
    of = train.specifications["text"]
    entry, others = train.conditions.entries["text"], train.conditions.variants["text"]
    assert torch.equal(entry.values, again.conditions.entries["text"].values)
    assert others.shape == (300, 2, of.length)
    seen = {of.say(row) for row in torch.cat([entry.values[:, None], others], 1).flatten(0, 1)}
    unseen = data.questions().sets["unseen captions"]
    assert not seen & set(unseen.captions)
    assert list(of.written(unseen.conditions.entries["text"])) == list(unseen.captions)
    with pytest.raises(UserError, match="16 pixels"):
        Shapes(size=12).open()
    with pytest.raises(UserError, match="at least 2"):
        Shapes(count=1).open()


def test_told_labels_instead_of_words():
    """All that a scene is made of, but its tints."""
    data = Shapes(count=200, told="labels").open()
    there = data.conditions.entries["shape 2"].present
    things = sum(data.conditions.entries[f"shape {k}"].present.long() for k in (1, 2, 3))
    assert things.unique().tolist() == [1, 2, 3]
    assert torch.equal(there, things > 1)
    assert data.specifications["colour 1"].names == COLOURS
    assert len(data.specifications) == 1 + 3 * 5
