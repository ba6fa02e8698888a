"""A batch in parts, and blocks that are computed twice: less memory, the same gradient."""

import pytest
import torch
from accelerate import Accelerator
from torch.autograd.graph import saved_tensors_hooks

from tests.runs.test_resume import BASE, RECIPES, one_thread  # noqa: F401  # a fixture
from undiffuse.condition.encoder import Routes
from undiffuse.core.errors import UserError
from undiffuse.data.ready import Digits
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.net import DiT, SpaceToDepth, UNet
from undiffuse.net.recompute import recompute
from undiffuse.train.trainer import Trainer

PICTURES = BASE.changed(
    data=Digits(), net=UNet(width=8, multiples=(1, 2), embedding=8), batch=12, clip=1e9, condition_dropout=0.3
)


def gradient(recipe):
    """Of the first step, after one that leaves nothing at zero; and its loss."""
    trainer = Trainer(recipe, recipe.data.open(), Accelerator())
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.learned:
            weight.normal_(std=0.2)
    trainer.step()
    return [weight.grad for weight in trainer.learned if weight.grad is not None], trainer.window[0, 0]


@pytest.mark.parametrize("parts", [2, 3, 12])
@pytest.mark.parametrize(
    "recipe",
    [PICTURES, PICTURES.changed(time=Uniform(draws=LowDiscrepancy())), BASE.changed(batch=12, clip=1e9)],
    ids=["pictures", "times that are spread over the batch", "points"],
)
def test_parts_make_the_gradient_of_the_batch(recipe, parts):
    (whole, loss), (made, other) = gradient(recipe), gradient(recipe.changed(accumulate=parts))
    torch.testing.assert_close(other, loss)
    size = torch.stack([one.abs().max() for one in whole]).max()
    for one, two in zip(whole, made, strict=True):
        torch.testing.assert_close(two, one, atol=float(1e-5 * size), rtol=1e-4)


def test_a_batch_that_cannot_be_in_parts_says_so():
    with pytest.raises(UserError, match="a batch of 12 does not split evenly over 5 parts"):
        Trainer(PICTURES.changed(accumulate=5), Digits().open(), Accelerator())
    with pytest.raises(UserError, match="accumulate must be at least 1, not 0"):
        PICTURES.changed(accumulate=0)


NETS = [
    UNet(width=8, multiples=(1, 2), embedding=8, dropout=0.2),
    SpaceToDepth(UNet(width=8, multiples=(1,), embedding=8)),
    DiT(width=16, depth=2, heads=2, patch=2),
]


@pytest.mark.parametrize("net", NETS, ids=lambda net: type(net).__name__)
def test_recomputing_blocks_changes_nothing_but_what_is_kept(net):
    recipe = PICTURES.changed(net=net)
    (kept, loss), (again, other) = gradient(recipe), gradient(recipe.changed(recompute=True))
    assert torch.equal(loss, other)
    for one, two in zip(kept, again, strict=True):
        torch.testing.assert_close(two, one)


def test_recomputed_blocks_keep_less():
    net, routes = UNet(width=16, multiples=(1, 2), embedding=8), Routes(torch.randn(1, 8))

    def size(with_less):
        torch.manual_seed(0)
        module, held = net.build((1, 16, 16), PICTURES.denoiser((1, 8, 8), {}).encoder.widths), []
        if with_less:
            recompute(module)
        with saved_tensors_hooks(lambda x: held.append(x.nbytes) or x, lambda x: x):
            module(torch.randn(4, 1, 16, 16), routes)
        return sum(held)

    assert size(True) < size(False) / 2
