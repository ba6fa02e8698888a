"""What networks are given of conditions: three routes, absence learned row by row, and a refusal by name."""

from pathlib import Path

import pytest
import torch
from conditioned import Conditioned

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Encoder, Widths
from undiffuse.condition.picture import Picture
from undiffuse.condition.read import read
from undiffuse.condition.renamed import renamed
from undiffuse.condition.specification import Labels, Numbers, Text, Vector
from undiffuse.core.errors import UserError
from undiffuse.net import MLP, DiT, SpaceToDepth, UNet
from undiffuse.net.table import TableMLP
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process.categorical import TokenShape
from undiffuse.process.mixed import RowShape

MODULATES = {
    "digit": Labels(("0", "1")),
    "age": Numbers(("age",), (0.0,), (1.0,), (-2.0,), (2.0,)),
    "embedding": Vector(3),
}
CAPTION, LOW = {"caption": Text(4, 7)}, {"low": Picture((2, 3, 5))}
EVERY = MODULATES | CAPTION | LOW
SMALL = UNet(width=8, multiples=(1, 2), embedding=16)
ON_PICTURES = {
    "unet": SMALL,
    "unet-dense": UNet(width=8, multiples=(1, 2), embedding=16, attention=2, dense=True),
    "folded": SpaceToDepth(SMALL, patch=(2, 2), waves=1),
    "dit": DiT(width=16, depth=1, heads=2),
    "dit-joint": DiT(width=16, depth=2, heads=2, words="joint"),
}


def asked(specifications, **words):
    """A row of everything, or of what the words say."""
    usual = {"digit": 1, "age": 0.5, "embedding": [0.1, 0.2, 0.3], "caption": [3, 5]}
    usual["low"] = torch.linspace(-1, 1, 30).view(2, 3, 5)
    return read(specifications, {name: (usual | words)[name] for name in specifications})


def awake(net):
    """With random numbers in every layer, the zeroed ones too: as after some training."""
    torch.manual_seed(0)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return net.eval()


def pictured(design, specifications=EVERY):
    encoder = Encoder(specifications, design.vector)
    net = awake(Conditioned(encoder, design.build((3, 6, 8), encoder.widths)))
    x = torch.randn(3, 3, 6, 8)
    return lambda conditions: net.net(x, net.encoder(torch.tensor(0.5), conditions))


@pytest.mark.parametrize("name", ON_PICTURES)
def test_every_condition_reaches_the_network_and_absence_does_too(name):
    """Each entry, changed or absent in one row, changes that row and no other."""
    ask = pictured(ON_PICTURES[name])
    here, different = asked(EVERY), {"digit": 0, "age": -1.0, "embedding": [1, 0, 0], "caption": [3, 6]}
    plain = ask(here.repeat(3))
    for entry in EVERY:
        other = asked(EVERY, **{entry: different.get(entry, -torch.ones(2, 3, 5))})
        for changed in (other, here.without(entry)):
            found = ask(Conditions.cat([here, changed, here]))
            assert not torch.allclose(found[1], plain[1], atol=1e-6), entry
            torch.testing.assert_close(found[::2], plain[::2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ON_PICTURES)
def test_no_conditions_are_conditions_that_are_absent(name):
    """To rounding; and whatever values stand where an entry is absent do not matter."""
    ask = pictured(ON_PICTURES[name])
    nothing, absent = ask(None), ask(asked(EVERY).without().repeat(3))
    torch.testing.assert_close(nothing, absent, rtol=1e-4, atol=1e-5)
    other = asked(EVERY, digit=0, age=-1.0, caption=[1, 2, 3, 4], low=torch.ones(2, 3, 5))
    torch.testing.assert_close(ask(other.without().repeat(3)), absent, rtol=0, atol=0)


def test_what_fills_a_text_up_is_not_read():
    """A text of two tokens is the same whatever its length was."""
    encoder = awake(Encoder(CAPTION, 16))
    routes = encoder(torch.tensor(0.0), asked(CAPTION))
    assert routes.tokens_present.tolist() == [[True, True, True, False, False]]
    routes = encoder(torch.tensor(0.0), asked(CAPTION).without())
    assert routes.tokens_present.tolist() == [[True, False, False, False, False]]


def test_pictures_of_two_sizes_lie_beside_each_other():
    encoder = Encoder(LOW | {"mask": Picture((1, 6, 8))}, 8)
    conditions = read(LOW | {"mask": Picture((1, 6, 8))}, {"low": torch.zeros(2, 3, 5), "mask": torch.ones(1, 6, 8)})
    assert encoder(torch.tensor(0.0), conditions).channels.shape == (1, 5, 6, 8)
    assert encoder.widths.channels == 5


def test_the_level_is_embedded_once_for_a_batch_that_shares_it():
    encoder = Encoder(MODULATES, 8)
    level, rows = torch.tensor(0.5), asked(MODULATES).repeat(3)
    assert encoder(level).vector.shape == (1, 8) and encoder(level, rows).vector.shape == (3, 8)
    assert encoder(level.expand(3)).vector.shape == (3, 8)
    torch.testing.assert_close(encoder(level.expand(3), rows).vector, encoder(level, rows).vector)


def test_without_a_level_and_without_what_modulates_there_is_no_vector():
    assert Encoder(CAPTION, 8, level=False).widths.vector == 0
    encoder = Encoder(MODULATES, 8, level=False)
    low, high = (encoder(torch.tensor(log_snr)).vector for log_snr in (-5.0, 5.0))
    assert torch.equal(low, high) and encoder.widths.vector == 8


@pytest.mark.parametrize(
    ("build", "specifications", "said"),
    [
        (lambda routes: MLP().build((2,), routes), CAPTION, "an MLP takes no tokens, which 'caption' needs"),
        (lambda routes: MLP().build((2,), routes), LOW, "an MLP takes no channels, which 'low' needs"),
        (lambda routes: TableMLP().build(RowShape(2, (3,)), routes), CAPTION, "a table's MLP takes no tokens"),
        (
            lambda r: UNet(attention=0).build((1, 4, 4), r),
            CAPTION,
            "without attention takes no tokens, which 'caption'",
        ),
        (
            lambda routes: TokenTransformer().build(TokenShape((5,), 3), 4, routes),
            LOW,
            "takes no channels, which 'low'",
        ),
    ],
)
def test_a_network_refuses_a_route_that_it_lacks_by_name(build, specifications, said):
    with pytest.raises(UserError, match=said):
        build(Encoder(specifications, 8).widths)


def test_tokens_attend_to_tokens():
    encoder = Encoder(MODULATES | CAPTION, 16)
    design = TokenTransformer(width=16, depth=1, heads=2)
    net = awake(Conditioned(encoder, design.build(TokenShape((5,), 3), 4, encoder.widths)))
    x, level = torch.randint(0, 4, (2, 5)), torch.tensor(0.0)
    every = (asked(MODULATES | CAPTION, caption=caption).repeat(2) for caption in ([1], [2]))
    first, second = (net.net(x, net.encoder(level, conditions)) for conditions in every)
    assert first.shape == (2, 5, 3) and not torch.allclose(first, second)


def test_a_condition_that_the_model_was_trained_without_is_named():
    with pytest.raises(UserError, match="without the condition 'caption'; known: digit, age, embedding"):
        Encoder(MODULATES, 8)(torch.tensor(0.0), asked(CAPTION))
    with pytest.raises(UserError, match="leave caption out"):
        Encoder({}, 8)(torch.tensor(0.0), asked(CAPTION))


def test_gradients_are_finite_where_texts_are_absent():
    """Attention to nothing at all would be NaN."""
    encoder = Encoder(EVERY, SMALL.vector)
    net = Conditioned(encoder, SMALL.build((3, 6, 8), encoder.widths))
    rows = Conditions.cat([asked(EVERY), asked(EVERY).without()])
    torch.nn.init.normal_(net.net.head.weight)
    net.net(torch.randn(2, 3, 6, 8), net.encoder(torch.zeros(2), rows)).square().mean().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in net.parameters())


def test_names_of_before():
    """Tensors of a model, of a state, of several attributes, and of a classifier, whose network lay one deeper."""
    table = torch.arange(14.0).view(7, 2)
    old = {"denoiser.net.condition.level.1.weight": table, "denoiser.net.inner.stem.weight": table}
    old |= {"optimizer.exp_avg.denoiser.net.inner.condition.label.table.weight": table}
    found = renamed(old, sizes=(2, 3))
    assert list(found) == [
        "denoiser.encoder.level.1.weight",
        "denoiser.net.inner.stem.weight",
        "optimizer.exp_avg.denoiser.encoder.entries.0.table.weight",
        "optimizer.exp_avg.denoiser.encoder.entries.1.table.weight",
    ]
    assert torch.equal(torch.cat(list(found.values())[2:]), table)
    old = {"denoiser.net.net.condition.level.1.bias": table, "denoiser.net.net.head.bias": table}
    old |= {"average 0.05.net.read.weight": table}
    new = ["denoiser.encoder.level.1.bias", "denoiser.net.head.bias", "average 0.05.read.weight"]
    assert list(renamed(old, is_classifier=True)) == new
    assert renamed({"denoiser.net.stem.weight": table}, True).keys() == {"denoiser.net.stem.weight"}


@pytest.mark.parametrize("folder", ["net", "loss", "denoiser", "step", "sampling", "exact"])
def test_no_network_loss_guide_or_sampler_knows_what_it_is_conditioned_on(folder):
    """The word is not in their sources, but for the example in `Sampling`'s first lines."""
    word = "lab" + "el"
    for path in (Path(__file__).parents[2] / "undiffuse" / folder).glob("*.py"):
        lines = [line for line in path.read_text().splitlines() if word in line.lower() and "run.sample(" not in line]
        assert not lines, (path.name, lines)


def test_widths_of_nothing():
    Widths().require_only("a network")
