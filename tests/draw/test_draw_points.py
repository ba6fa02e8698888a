"""Points drawn: the same frame for all, nothing hidden in silence, projections that keep what they say."""

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.draw.points import Cloud, frame, outside, points, project


def cloud(count, columns, title="data", labels=None):
    return Cloud(title, torch.randn(count, columns, generator=torch.Generator().manual_seed(count)), labels)


def test_all_clouds_share_the_first_ones_frame():
    data, samples = cloud(500, 2), Cloud("samples", 5 * cloud(300, 2).x)
    left, right = points([data, samples]).axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert left.get_aspect() == right.get_aspect() == 1


def test_what_lies_outside_is_counted_in_the_title():
    data = cloud(500, 2)
    samples = Cloud("samples", torch.cat([data.x[:10] * 0, torch.full((3, 2), 100.0), torch.full((1, 2), torch.nan)]))
    right = points([data, samples]).axes[1]
    assert right.get_title("right") == "14, 4 outside the frame"


def test_the_frame_holds_nearly_everything():
    x = cloud(10_000, 2).x
    assert outside(x, frame(x)) <= 0.004 * len(x)


def test_labels_colour_the_dots_and_are_listed():
    labels = torch.arange(50) % 3
    figure = points([cloud(50, 2, labels=labels)], label_names=("a", "b", "c"))
    inks = figure.axes[0].collections[0].get_facecolors()
    assert len({tuple(ink) for ink in inks}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]


def test_no_label_is_a_colour_of_its_own():
    labels = torch.tensor([0, 1, -1] * 10)
    figure = points([cloud(30, 2, labels=labels)], label_names=("a", "b"))
    assert len({tuple(ink) for ink in figure.axes[0].collections[0].get_facecolors()}) == 3


def test_a_true_density_on_the_line_is_drawn_where_it_is_known():
    def log_density(x):
        return -0.5 * x[:, 0] ** 2 - 0.918938533

    without = points([cloud(500, 1), cloud(400, 1, "samples")]).axes[0]
    with_density = points([cloud(500, 1), cloud(400, 1, "samples")], log_density=log_density).axes[0]
    assert (len(without.lines), len(with_density.lines)) == (0, 1)
    x, y = with_density.lines[0].get_data()
    assert torch.trapezoid(torch.as_tensor(y), torch.as_tensor(x)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("columns", [3, 5])
def test_a_few_columns_are_shown_pair_by_pair(columns):
    figure = points([cloud(60, columns), cloud(50, columns, "samples")], columns=[f"c{k}" for k in range(columns)])
    assert sum(axes.axison for axes in figure.axes) == columns * (columns + 1) // 2


def test_many_columns_are_projected_and_the_axes_say_so():
    figure = points([cloud(60, 8), cloud(50, 8, "samples")])
    assert "principal component 1" in figure.axes[0].get_xlabel()
    assert "of the variance" in figure.axes[0].get_ylabel()


def test_a_projection_keeps_data_that_lies_in_a_plane():
    flat = cloud(200, 2).x.double() @ torch.linalg.qr(torch.randn(7, 2).double()).Q.T
    data = (flat - flat.mean(0)) / flat.std(0)
    (projected,), names = project([Cloud("data", data)])
    assert torch.allclose(torch.pdist(projected.x), torch.pdist(data), rtol=1e-9)
    assert sum(int(name.split("(")[1].split("%")[0]) for name in names) in (99, 100, 101)


def test_a_constant_column_among_others_is_no_trouble():
    x = cloud(50, 7).x
    x[:, 3] = 2
    points([Cloud("data", x)]).draw_without_rendering()


def test_a_crowd_is_drawn_as_a_density():
    axes = points([cloud(30_000, 2)]).axes[0]
    assert len(axes.images) == 1
    assert not axes.collections


def test_clouds_of_different_columns_are_refused():
    with pytest.raises(UserError, match="different columns"):
        points([cloud(5, 2), cloud(5, 3)])
