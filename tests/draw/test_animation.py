"""Films: a frame a state, and the end is held."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from undiffuse.core.errors import UserError
from undiffuse.draw.animation import HELD, TICK, Frame, film_of_pictures, film_of_points, frames_to_show, write_film
from undiffuse.draw.points import Cloud


def states(count, *shape, pictures=False):
    generator = torch.Generator().manual_seed(0)
    for k in range(count):
        x = torch.randn(shape, generator=generator)
        yield Frame(
            (x.sigmoid() * 255).byte() if pictures else x, f"step {k} of {count - 1}", f"noise {1 - k / count:.0%}"
        )


def read(path):
    with Image.open(path) as film:
        durations = []
        for k in range(film.n_frames):
            film.seek(k)
            durations.append(film.info["duration"])
        return film.info.get("loop"), durations


@pytest.mark.parametrize("columns", [1, 2, 7])
def test_a_film_of_points(tmp_path, columns):
    data = Cloud("data", torch.randn(40, columns))
    write_film(film_of_points(states(4, 30, columns), data), tmp_path / "film.gif", 4)
    assert read(tmp_path / "film.gif") == (0, [TICK] * 3 + [TICK * HELD])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_of_pictures(tmp_path, channels):
    pages = film_of_pictures(states(5, 6, channels, 8, 8, pictures=True), captions=list("abcdef"))
    write_film(pages, tmp_path / "film.gif", 5)
    assert read(tmp_path / "film.gif") == (0, [TICK] * 4 + [TICK * HELD])


def test_labels_colour_the_points_of_a_film():
    data, labels = Cloud("data", torch.randn(40, 2)), torch.arange(30) % 2
    (plain,) = film_of_points(states(1, 30, 2), data)
    (coloured,) = film_of_points(states(1, 30, 2), data, labels, ("a", "b"))
    assert plain.size == coloured.size
    assert len(coloured.getcolors(1 << 20)) > len(plain.getcolors(1 << 20))


def test_a_film_that_breaks_off_leaves_nothing(tmp_path):
    def broken():
        yield Image.new("RGB", (4, 4))
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError):
        write_film(broken(), tmp_path / "film.gif", 2)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError):
        write_film(iter([]), tmp_path / "film.gif", 0)


@given(st.integers(1, 2000), st.integers(2, 100))
def test_kept_states_rise_from_the_first_to_the_last(count, at_most):
    chosen = frames_to_show(count, at_most)
    assert len(chosen) == min(count, at_most)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1
    assert all(b > a for a, b in itertools.pairwise(chosen))
