"""Names beside curves, and figures that come whole."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.draw.style import colours, panels, save, spread

rising = st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(sorted)


@given(rising, st.floats(0.01, 1))
def test_spread_names_lie_a_gap_apart_in_order(heights, gap):
    placed = spread(heights, gap)
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(placed))


@given(rising, st.floats(0.01, 1))
def test_spread_moves_nothing_on_average_and_nothing_that_fits(heights, gap):
    placed = spread(heights, gap)
    assert sum(placed) == pytest.approx(sum(heights), abs=1e-6)
    if all(b - a >= gap for a, b in itertools.pairwise(heights)):
        assert placed == pytest.approx(heights, abs=1e-9)


@pytest.mark.parametrize("count", [1, 8, 9, 27])
def test_colours_differ(count):
    assert len(set(colours(count))) == count


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_figure_is_saved_as_its_ending_says(tmp_path, ending, magic):
    figure, _ = panels(2, 2)
    save(figure, tmp_path / f"figure{ending}")
    assert (tmp_path / f"figure{ending}").read_bytes().startswith(magic)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        save(panels()[0], tmp_path / "nowhere" / "figure.png")
