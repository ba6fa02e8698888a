"""Folding: a rearrangement and its inverse, and a network inside that keeps the contract of all networks."""

import pytest
import torch

from undiffuse.errors import UserError
from undiffuse.net import Folded, UNet
from undiffuse.net.fold import fold, unfold


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


@pytest.mark.parametrize("out_multiple", [1, 2])
def test_a_folded_network_is_a_network(out_multiple):
    net = Folded(UNet(width=8), patch=(8, 1)).build((3, 24, 10), classes=4, out_multiple=out_multiple)
    x, label = torch.randn(2, 3, 24, 10), torch.tensor([3, -1])
    y = net(x, torch.tensor(0.5), label)
    assert y.shape == (2, 3 * out_multiple, 24, 10)
    assert not y.any()  # it starts as the zero function


def test_what_does_not_fold_is_told():
    for shape in ((3, 20, 10), (7,)):
        with pytest.raises(UserError, match="fold by 8 x 1"):
            Folded(patch=(8, 1)).build(shape)
    with pytest.raises(UserError, match="at least 1 x 1"):
        Folded(patch=(0, 1))
