"""Keyboards: drawn as promised; and read back, exactly, from pictures that are right, spoilt or not of keyboards."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from undiffuse.core.errors import UserError
from undiffuse.data.ready import Piano
from undiffuse.data.synthetic.keyboard import Fault, read, valid
from undiffuse.data.synthetic.piano import HAS_BLACK, draw, keyboards, piano

SIZE = (24, 64)
COUNT = 600


def some(seed=0, count=COUNT):
    """First keys, and keyboards that begin with them."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(7, (count,), generator=generator)
    return first, keyboards(first, SIZE, 10, generator)


def inner(seen, generator):
    """(count,) edges, one of each keyboard, drawn from those that are two keys or more from the border."""
    width = SIZE[1]
    spacing = (seen.edges[:, 1] - seen.edges[:, 0])[:, None]
    inside = (seen.edges > 2 * spacing) & (seen.edges < width - 2 * spacing)
    return torch.multinomial(inside.float(), 1, generator=generator)[:, 0]


def faults(seen):
    return read(draw(seen, SIZE)).fault


@pytest.mark.parametrize(("size", "keys"), [((24, 64), 10), ((32, 64), 10), ((16, 64), 9), ((24, 96), 14)])
def test_every_real_keyboard_is_valid_and_its_first_key_is_read(size, keys):
    data = piano(3000, seed=5, size=size, keys=keys)
    found = read(data.x)
    right = found.fault == Fault.NONE
    assert right.float().mean() >= 0.999
    assert torch.equal(found.first[right], data.labels[right])
    assert torch.equal(valid(data.x), right)


def test_pictures_are_drawn_as_promised():
    data, again, test = piano(500), piano(500), piano(500, split="test")
    assert data.x.shape == (500, 3, 24, 64)
    assert data.label_names == ("C", "D", "E", "F", "G", "A", "B")
    assert data.labels.unique().tolist() == list(range(7))
    assert torch.equal(data.x, again.x)
    assert not torch.equal(data.x, test.x)
    assert torch.equal(data.x, piano(700).x[:500]) is False  # as many as are asked for are drawn together
    assert torch.equal(Piano(500).open().x, data.x)
    assert Piano().validity() == ("valid keyboards", valid)


def test_paint_covers_a_pixel_by_the_share_it_overlaps():
    """The ink of a black key on white is its area, wherever it lies between the pixels."""
    _, seen = some(count=50)
    bare = replace(seen, black=torch.zeros_like(seen.black), light=torch.zeros_like(seen.light))
    one = bare.black.clone()
    one[:, 4] = True
    plain, inked = (draw(kind, SIZE)[:, :, 8:12].float().mean((1, 2)) for kind in (bare, replace(bare, black=one)))
    wider = replace(bare, black=one, black_width=seen.black_width + 1)
    more = (plain - draw(wider, SIZE)[:, :, 8:12].float().mean((1, 2))).sum(1) - (plain - inked).sum(1)
    one_pixel = 255 * (seen.ivory.mean(1) - seen.ebony)
    # 60% of what is added is the key's own, 40% the light on its back
    assert (more / one_pixel).sub(1 - 0.4 * 0.16 / (seen.ivory.mean(1) - seen.ebony)).abs().max() < 0.15


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_black_key_added_or_removed_anywhere_is_seen(seed):
    """Any one change breaks the groups: windows of the octave differ in two places at least."""
    _, seen = some(seed, count=40)
    which, rows = inner(seen, torch.Generator().manual_seed(seed)), torch.arange(40)
    black, shift = seen.black.clone(), seen.shift.clone()
    black[rows, which] ^= True
    assert (faults(replace(seen, black=black, shift=shift)) != Fault.NONE).all()
    shift[:] = 0  # lest the new one touches its neighbours
    assert (faults(replace(seen, black=black, shift=shift)) == Fault.GROUPS).all()


def test_any_pattern_of_black_keys_is_judged_by_the_octave():
    """Valid if and only if what lies inside the picture is a window of the octave: some changed, some only moved on."""
    generator = torch.Generator().manual_seed(3)
    _, seen = some(3)
    edges, width = seen.edges.shape[1], SIZE[1]
    windows = torch.tensor(HAS_BLACK)[(torch.arange(7)[:, None] + torch.arange(edges)) % 7]  # (7, edges)
    changes = (torch.rand(COUNT, edges, generator=generator) < 0.1) & (torch.rand(COUNT, 1, generator=generator) < 0.7)
    black = windows[torch.randint(7, (COUNT,), generator=generator)] ^ changes
    found = valid(draw(replace(seen, black=black, shift=torch.zeros_like(seen.shift)), SIZE))

    half = 0.5 * seen.black_width[:, None]
    for reach, wanted in ((half + 1, True), (-1.0, False)):  # all that may be seen is right; what surely is, is wrong
        inside = (seen.edges > -reach) & (seen.edges < width + reach)
        fits = ((windows == black[:, None]) | ~inside[:, None]).all(2).any(1)
        assert found[fits == wanted].float().mean() == pytest.approx(float(wanted), abs=0.01)
        assert 50 < (fits == wanted).sum() < 550


@pytest.mark.parametrize("aside", [-0.5, -0.4, 0.4, 0.5])
def test_a_black_key_that_is_moved_is_seen(aside):
    _, seen = some(4)
    which, rows = inner(seen, torch.Generator().manual_seed(4)), torch.arange(COUNT)
    black, shift = seen.black.clone(), torch.zeros_like(seen.shift)
    black[rows, which] = True
    shift[rows, which] = aside * (seen.edges[:, 1] - seen.edges[:, 0])
    assert (faults(replace(seen, black=black, shift=shift)) != Fault.NONE).all()


@pytest.mark.parametrize("change", [-0.5, -0.35, 0.35, 0.5])
def test_a_white_key_too_wide_or_narrow_is_seen(change):
    _, seen = some(5)
    which = inner(seen, torch.Generator().manual_seed(5))[:, None]
    spacing = seen.edges[:, 1:2] - seen.edges[:, :1]
    edges = seen.edges + change * spacing * (torch.arange(seen.edges.shape[1]) >= which)
    assert (faults(replace(seen, edges=edges)) != Fault.NONE).all()


def test_a_white_key_s_edge_left_out_or_doubled_is_seen():
    _, seen = some(6)
    low = draw(seen, SIZE)
    which, rows = inner(seen, torch.Generator().manual_seed(6)), torch.arange(COUNT)
    at = seen.edges[rows, which].long()
    for offset, source in ((0, 3), (3, 0)):  # the line painted over by a white key's middle, and the other way
        spoilt = low.clone()
        for k in range(-1, 2):
            spoilt[rows, :, 17:, at + offset + k] = low[rows, :, 17:, at + source + k]
        assert (read(spoilt).fault == Fault.UNEVEN).float().mean() > 0.99


def test_black_keys_cut_short_faint_or_wide_are_seen():
    _, seen = some(7)
    which, rows = inner(seen, torch.Generator().manual_seed(7)), torch.arange(COUNT)
    black = seen.black.clone()
    black[rows, which] = True
    x = draw(seen, SIZE).float()
    bare = draw(replace(seen, black=torch.zeros_like(black)), SIZE).float()
    at, has = seen.edges[rows, which], seen.black[rows, which]
    key = ((torch.arange(SIZE[1]) + 0.5 - at[:, None]).abs() < 5).float()[:, None, None]  # and all that is near it
    row = torch.arange(SIZE[0])[:, None]
    for share in ((row > 9) * 1.0, (row < 9) * (row > 5) * 1.0, torch.tensor(0.5)):
        spoilt = x + key * share * (bare - x)
        assert (read(spoilt[has]).fault != Fault.NONE).float().mean() > 0.99
    assert (faults(replace(seen, black_width=1.6 * seen.black_width)) != Fault.NONE).all()


def test_a_mirrored_keyboard_is_a_keyboard():
    data = piano(2000, seed=8)
    found = read(data.x.flip(3))
    assert (found.fault == Fault.NONE).float().mean() >= 0.999


@pytest.mark.parametrize("change", ["dark", "noisy", "blurred", "low contrast"])
def test_reading_bears_brightness_noise_and_blur(change):
    data = piano(2000, seed=9)
    x = data.x.float()
    generator = torch.Generator().manual_seed(9)
    blur = torch.tensor([0.1, 0.8, 0.1])
    changed = {
        "dark": 0.6 * x,
        "noisy": x + 6 * torch.randn(x.shape, generator=generator),
        "blurred": F.conv2d(F.pad(x, (1, 1, 0, 0), "replicate"), blur.expand(3, 1, 1, 3), groups=3),
        "low contrast": 100 + 0.4 * x,
    }[change]
    found = read(changed.round().clamp(0, 255).to(torch.uint8))
    assert (found.fault == Fault.NONE).float().mean() >= 0.998
    assert (found.first == data.labels).float().mean() >= 0.998


def test_two_keyboards_in_one_are_none():
    """Halves of two pictures, and their mean, where the keys of one are not the keys of the other."""
    _, one = some(10, 2000)
    _, other = some(11, 2000)

    def place(seen):  # which key, and how much of it, is at the middle of the picture
        return (SIZE[1] / 2 - seen.edges[:, 0]) / (seen.edges[:, 1] - seen.edges[:, 0])

    apart = ((place(one) - place(other)) % 1 - 0.5).abs() < 0.15  # of 0 to 1/2: half a key apart
    left, right = draw(one, SIZE)[apart], draw(other, SIZE)[apart]
    assert apart.sum() > 400
    halves = torch.cat([left[..., :32], right[..., 32:]], dim=3)
    assert valid(halves).float().mean() < 0.005
    assert not valid((left.float() + right.float()) / 2).any()


def test_what_is_no_keyboard_is_blank_or_worse():
    noise = torch.randint(256, (500, 3, *SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert not valid(noise).any()
    assert (read(torch.full((3, 3, *SIZE), 200, dtype=torch.uint8)).fault == Fault.BLANK).all()
    x = piano(200).x
    assert not valid(x.flip(2)).any()  # upside down
    assert read(noise).first.eq(-1).all()


def test_mistakes_are_told():
    with pytest.raises(UserError, match="at least 2"):
        piano(1)
    with pytest.raises(UserError, match="8 keys"):
        piano(10, keys=5)
    with pytest.raises(UserError, match="4 pixels of width"):
        piano(10, size=(24, 30))
    with pytest.raises(UserError, match="split"):
        piano(10, split="tests")
    with pytest.raises(UserError, match="16 x 32"):
        valid(torch.zeros(2, 3, 8, 64))
