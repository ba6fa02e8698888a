"""Folding: a rearrangement and its inverse, and a network inside that keeps the contract of all networks."""

import pytest
import torch
from conditioned import built

from undiffuse.core.errors import UserError
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.net.fold import fold, places, unfold


@pytest.mark.parametrize("patch", [(1, 1), (2, 2), (8, 1), (1, 4), (4, 2)])
def test_unfolding_undoes_folding(patch):
    x = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    folded = fold(x, patch)
    assert folded.shape == (2, 3 * patch[0] * patch[1], 8 // patch[0], 12 // patch[1])
    assert torch.equal(unfold(folded, patch), x)


def test_a_place_holds_its_patch():
    x = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    assert torch.equal(fold(x, (4, 2))[1, :, 1, 5], x[1, :, 4:8, 10:12].flatten())
    assert torch.equal(fold(x, (2, 2)), torch.nn.functional.pixel_unshuffle(x, 2))


@pytest.mark.parametrize("waves", [0, 3])
@pytest.mark.parametrize("out_multiple", [1, 2])
def test_a_folded_network_is_a_network(out_multiple, waves):
    design = SpaceToDepth(UNet(width=8), patch=(8, 1), waves=waves)
    net = built(design, (3, 24, 10), classes=4, out_multiple=out_multiple)
    x, label = torch.randn(2, 3, 24, 10), torch.tensor([3, -1])
    y = net(x, torch.tensor(0.5), label)
    assert y.shape == (2, 3 * out_multiple, 24, 10)
    assert not y.any()  # it starts as the zero function


def test_no_two_places_are_told_the_same_and_near_ones_nearly():
    where = places(5, 64, waves=4)
    assert where.shape == (16, 5, 64)
    apart = torch.cdist(where.flatten(1).T, where.flatten(1).T)
    assert (apart + torch.eye(len(apart))).min() > 0.05
    across = places(1, 64, waves=1)[2:, 0]  # half a period: the cosine falls all the way
    assert (across[1].diff() < 0).all()
    assert torch.allclose(across.square().sum(0), torch.ones(64))


def test_what_is_said_of_the_mean_and_of_the_variance_stay_apart():
    """Channels of the waves are left out of each part, not of their sum."""
    net = built(SpaceToDepth(UNet(width=8), patch=(2, 1), waves=2), (1, 4, 4), out_multiple=2)

    class Count(torch.nn.Module):  # says of each channel its number
        def forward(self, x, routes):
            return torch.arange(2.0 * x.shape[1])[None, :, None, None].expand(len(x), -1, *x.shape[2:])

    net.net.inner = Count()
    y = net(torch.zeros(1, 1, 4, 4), torch.tensor(0.0))
    assert y[0, :, :2, 0].tolist() == [[0, 1], [10, 11]]


def test_what_does_not_fold_is_told():
    for shape in ((3, 20, 10), (7,)):
        with pytest.raises(UserError, match="fold by 8 x 1"):
            built(SpaceToDepth(patch=(8, 1)), shape)
    with pytest.raises(UserError, match="at least 1 x 1"):
        SpaceToDepth(patch=(0, 1))
    with pytest.raises(UserError, match="waves"):
        SpaceToDepth(waves=-1)


def test_what_places_are_told_goes_with_the_network_but_is_not_saved():
    net = built(SpaceToDepth(UNet(width=8), patch=(2, 2), waves=2), (1, 8, 12))
    assert torch.equal(net.net.where, places(4, 6, 2)) and not any("where" in name for name in net.state_dict())
    assert net(torch.randn(2, 1, 4, 6), torch.tensor(0.0)).shape == (2, 1, 4, 6)  # and other sizes are told theirs
