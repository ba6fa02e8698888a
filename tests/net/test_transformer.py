"""Transformers: the identity at the start, positions that are relative, any size, and a block by its formula."""

import pytest
import torch
from conditioned import built
from torch.nn import functional as F

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net import DiT
from undiffuse.net.joint import JointBlocks
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.net.transformer import (
    Attention,
    CrossAttention,
    TransformerBlock,
    angles_along,
    angles_over,
    attend,
    rotary,
    rotated,
)
from undiffuse.process.categorical import TokenShape

SMALL = DiT(width=16, depth=2, heads=2)


def test_a_block_starts_as_the_identity_exactly():
    torch.manual_seed(0)
    block, h = TransformerBlock(16, 2, Widths(vector=8, tokens=5)), torch.randn(3, 6, 16)
    routes = Routes(torch.randn(3, 8), torch.randn(3, 7, 5), torch.ones(3, 7, dtype=torch.bool))
    assert torch.equal(block(h, routes, rotary(angles_along(6, 4))), h)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 5, 7), (3, 1, 1), (5, 4, 9)])
def test_the_output_starts_at_zero_for_any_picture(shape, positions):
    net = built(DiT(width=16, depth=1, heads=2, positions=positions), shape, classes=3, out_multiple=2)
    for batch, level in ((1, torch.zeros(())), (3, torch.randn(3))):
        y = net(torch.randn(batch, *shape), level, torch.randint(-1, 3, (batch,)))
        assert y.shape == (batch, 2 * shape[0], *shape[1:]) and (y == 0).all()


def test_every_weight_learns_within_three_steps():
    """Gates and heads start at zero, so the gradient reaches what lies behind them one step later."""
    torch.manual_seed(0)
    net = built(SMALL, (1, 4, 4), classes=2)
    before = [weight.clone() for weight in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        label = torch.tensor([0, 1, -1, 0])
        (net(torch.randn(4, 1, 4, 4), torch.randn(4), label) - torch.randn(4, 1, 4, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    still = [name for (name, w), old in zip(net.named_parameters(), before, strict=True) if torch.equal(w, old)]
    assert not still


def test_a_block_is_its_formula():
    torch.manual_seed(0)
    block = TransformerBlock(8, 2, Widths(vector=4), qk_norm=False).double()
    for weight in block.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    h, condition = torch.randn(2, 5, 8).double(), torch.randn(2, 4).double()
    told = condition @ block.modulation.weight.T + block.modulation.bias
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (part[:, None] for part in told.split(8, 1))

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    x = norm(h) * (1 + scale_1) + shift_1
    q, k, v = (x @ block.attention.query_key_value.weight.T + block.attention.query_key_value.bias).split(8, -1)
    heads = []
    for a in range(2):
        part = slice(4 * a, 4 * a + 4)
        weights = (q[..., part] @ k[..., part].mT / 2).softmax(-1)
        heads.append(weights @ v[..., part])
    read = torch.cat(heads, -1) @ block.attention.out.weight.T + block.attention.out.bias
    middle = h + gate_1 * read
    dense = block.dense[2](F.gelu(block.dense[0](norm(middle) * (1 + scale_2) + shift_2), approximate="tanh"))
    torch.testing.assert_close(block(h, Routes(condition)), middle + gate_2 * dense)


def test_turned_products_depend_on_the_distance_alone():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8).double()
    turn = rotary(angles_over(4, 5, 4).double())
    products = (rotated(q.expand(1, 1, 20, 8), turn) @ rotated(k.expand(1, 1, 20, 8), turn).mT)[0, 0].view(4, 5, 4, 5)
    for i, j in ((0, 0), (1, 2), (2, 1)):  # from (i, j) to one down and two across
        torch.testing.assert_close(products[i, j, i + 1, j + 2], products[0, 0, 1, 2])
    torch.testing.assert_close(angles_over(1, 5, 4)[:, 2:], angles_along(5, 2, 100.0))


def test_rotary_positions_take_sizes_that_were_not_trained_and_learned_ones_say_so():
    x = torch.randn(2, 1, 6, 10)
    assert built(SMALL, (1, 4, 4))(x, torch.zeros(())).shape == x.shape
    with pytest.raises(UserError, match="learned positions are for 2 x 2 patches, not 3 x 5"):
        built(DiT(width=16, depth=1, heads=2, positions="learned"), (1, 4, 4))(x, torch.zeros(()))


def test_transformers_that_cannot_be():
    for make, says in (
        (lambda: built(DiT(width=30, heads=4), (1, 4, 4)), "split into heads"),
        (lambda: DiT(depth=0), "from 1"),
        (lambda: built(SMALL, (4,)), "takes pictures"),
        (lambda: built(SMALL, (2, 4, 4))(torch.zeros(1, 1, 4, 4), torch.zeros(())), "takes pictures"),
    ):
        with pytest.raises(UserError, match=says):
            make()


def test_it_compiles_whole_and_in_half_precision():
    torch.manual_seed(0)
    net = built(SMALL, (1, 6, 6), classes=2)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    x, level, label = torch.randn(3, 1, 6, 6), torch.randn(3), torch.tensor([0, 1, -1])
    y = net(x, level, label)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, level, label), y, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(x, level, label), y, rtol=0.1, atol=0.05)


def test_tokens_are_read_where_they_are_present():
    torch.manual_seed(0)
    across, h, words = CrossAttention(8, 2, 5), torch.randn(2, 3, 8), torch.randn(2, 4, 5)
    assert torch.equal(across(h, Routes(None, words, torch.ones(2, 4, dtype=torch.bool))), h)
    torch.nn.init.normal_(across.out.weight)
    some, every = torch.tensor([[True, True, False, False]] * 2), torch.ones(2, 4, dtype=torch.bool)
    others = torch.where(some[..., None], words, torch.randn(2, 4, 5))
    torch.testing.assert_close(across(h, Routes(None, words, some)), across(h, Routes(None, others, some)))
    assert not torch.allclose(across(h, Routes(None, words, every)), across(h, Routes(None, others, every)))


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("shape", [(7,), (2, 3)])
def test_tokens_start_equally_likely(shape, positions, time):
    design = TokenTransformer(width=16, depth=2, heads=2, positions=positions, time=time)
    net = built(design, TokenShape(shape, 5), 2, level=time, states=6)
    logits = net(torch.randint(0, 6, (3, *shape)), torch.zeros(()), torch.tensor([0, 1, -1]))
    assert logits.shape == (3, *shape, 5) and (logits == 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_plain_products_are_fused_attention_to_rounding(causal):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, 20, 8).to(torch.bfloat16)
    exact = torch.nn.functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), is_causal=causal
    )
    torch.testing.assert_close(attend(query, key, value, causal).double(), exact, atol=0.03, rtol=0)


def test_a_causal_transformer_does_not_see_what_comes():
    torch.manual_seed(0)
    attention, h = Attention(8, 2, causal=True), torch.randn(1, 5, 8)
    other = torch.cat([h[:, :3], torch.randn(1, 2, 8)], 1)
    torch.testing.assert_close(attention(h)[:, :3], attention(other)[:, :3])


def test_joint_attention_of_words_that_say_nothing_is_self_attention():
    """Words that nothing attends to leave the places as self-attention has them: with weights shared, bit for bit."""
    torch.manual_seed(0)
    routes = Widths(vector=8, tokens=8)
    joint, alone = JointBlocks(1, 16, 2, routes, True, 0.0), TransformerBlock(16, 2, Widths(vector=8))
    for weight in joint.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    stream = joint.blocks[0].places
    alone.modulation.load_state_dict(stream.modulation.state_dict())
    alone.dense.load_state_dict(stream.dense.state_dict())
    own = {
        name: value
        for name, value in stream.state_dict().items()
        if name.split(".")[0] in ("query_key_value", "norm_q", "norm_k", "out")
    }
    alone.attention.load_state_dict(own)
    h, vector, tokens = torch.randn(2, 5, 16), torch.randn(2, 8), torch.randn(2, 3, 8)
    unseen = Routes(vector, tokens, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(joint(h, unseen), alone(h, Routes(vector)), rtol=1e-4, atol=1e-5)
    seen = Routes(vector, tokens, torch.ones(2, 3, dtype=torch.bool))
    assert (joint(h, seen) - joint(h, unseen)).abs().max() > 1e-3


def test_words_of_joint_attention_are_read_anew_in_the_light_of_the_picture():
    """In the second block, what a place reads of the words depends on other places through the words alone."""
    torch.manual_seed(0)
    joint = JointBlocks(2, 16, 2, Widths(vector=8, tokens=8), True, 0.0)
    for weight in joint.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    h, words, vector = torch.randn(1, 4, 16), torch.randn(1, 3, 16), torch.randn(1, 8)
    seen = torch.ones(1, 1, 1, 7, dtype=torch.bool)
    first = joint.blocks[0]
    _, read = first(h, words, vector, seen, None)
    _, other = first(h + torch.randn(1, 4, 16), words, vector, seen, None)
    assert (read - other).abs().max() > 1e-3
