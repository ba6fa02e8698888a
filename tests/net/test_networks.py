"""What every network promises, whatever is inside: the contract of ``undiffuse.net``."""

import warnings

import pytest
import torch
from conditioned import built
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.net import MLP, NestedUNet, ResidualMLP, UNet
from undiffuse.net.blocks import PixelAttention, parts

CLASSES = 3
SIZES = [(1, 1), (2, 3), (7, 5), (8, 8), (16, 9), (28, 28)]
SMALL_MLP = MLP(width=12, depth=2, waves=6, embedding=8)
SMALL_UNET = UNet(width=6, multiples=(1, 2, 2), blocks=2, attention=2, embedding=8)
CASES = [
    pytest.param(SMALL_MLP, (2,), id="mlp-points"),
    pytest.param(SMALL_MLP, (3, 4), id="mlp-rows"),
    pytest.param(MLP(width=12, depth=2, waves=0, embedding=8), (1,), id="mlp-without-waves"),
    pytest.param(SMALL_UNET, (1, 8, 8), id="unet-grey"),
    pytest.param(SMALL_UNET, (3, 7, 5), id="unet-colour-odd"),
    pytest.param(
        UNet(width=6, multiples=(1, 2, 2), blocks=(1, 0, 2), attention=(0, 2), embedding=8, dense=True),
        (3, 5, 6),
        id="unet-dense",
    ),
    pytest.param(
        UNet(6, (1, 1, 2), blocks=(0, 1, 2), embedding=8, skip_scale=0.5**0.5, resampling="early"),
        (3, 9, 6),
        id="unet-efficient",
    ),
    pytest.param(UNet(6, (1, 2), embedding=8, heads=1, resampling="plain"), (3, 5, 6), id="unet-plain"),
    pytest.param(UNet(width=6, multiples=(1,), attention=0, embedding=8), (2, 4, 4), id="unet-one-level"),
]


def awake(net, dtype=torch.float64):
    """The network with random numbers in every layer, the zeroed ones too: as after some training."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.to(dtype)


def inputs(shape, batch=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *shape, dtype=dtype, generator=generator)
    log_snr = torch.linspace(-9, 9, batch, dtype=dtype)
    label = torch.randint(-1, CLASSES, (batch,), generator=generator)
    return x, log_snr, label


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_unet_keeps_the_shape_of_any_picture(channels, size, batch):
    x, log_snr, label = inputs((channels, *size), batch, torch.float32)
    net = awake(built(SMALL_UNET, x.shape[1:], CLASSES), torch.float32)
    y = net(x, log_snr, label)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert y.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_single_pixel_is_seen(channels):
    """Its normalisation groups hold several channels, else every pixel would be normalised to zero."""
    net = awake(built(SMALL_UNET, (channels, 1, 1)))
    x = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(4, 1, 1, 1).expand(-1, channels, -1, -1)
    y = net(x, torch.tensor(0.0, dtype=torch.float64))
    assert torch.pdist(y.flatten(1)).min() > 1e-6


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (3, 1), (2, 3, 5)])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_mlp_keeps_the_shape_of_any_point(shape, batch):
    x, log_snr, label = inputs(shape, batch)
    assert awake(built(SMALL_MLP, shape, CLASSES))(x, log_snr, label).shape == x.shape


@pytest.mark.parametrize("design", [MLP(), UNet()])
def test_the_default_networks_are_described_and_built_by_default(design):
    shape = (1, 8, 8)
    net = built(design, shape, classes=10)
    assert isinstance(net.net, ResidualMLP if isinstance(design, MLP) else NestedUNet)
    x, log_snr, label = inputs(shape, dtype=torch.float32)
    assert net(x, log_snr, label).shape == x.shape


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_twice_the_channels_when_the_variance_is_learned(design, shape):
    x, log_snr, label = inputs(shape)
    net = awake(built(design, shape, CLASSES, out_multiple=2))
    assert net(x, log_snr, label).shape == (len(x), 2 * shape[0], *shape[1:])


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_starts_as_the_zero_function(design, shape):
    x, log_snr, label = inputs(shape, dtype=torch.float32)
    assert not built(design, shape, CLASSES)(x, log_snr, label).any()


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_one_level_for_the_batch_is_that_level_for_each(design, shape):
    x, log_snr, label = inputs(shape)
    net = awake(built(design, shape, CLASSES))
    one = log_snr[1]
    assert torch.allclose(net(x, one, label), net(x, one.expand(len(x)), label), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_minus_one_is_no_label_sample_by_sample(design, shape):
    x, log_snr, _ = inputs(shape)
    net = awake(built(design, shape, CLASSES))
    label = torch.tensor([-1, 2, -1, 0])
    with_labels, without = net(x, log_snr, label), net(x, log_snr)
    dropped = label == -1
    assert torch.allclose(with_labels[dropped], without[dropped], rtol=1e-10, atol=1e-12)
    assert ((with_labels - without).flatten(1).norm(dim=1)[~dropped] > 1e-6).all()


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_each_sample_is_alone(design, shape):
    x, log_snr, label = inputs(shape)
    net = awake(built(design, shape, CLASSES))
    together = net(x, log_snr, label)
    alone = torch.cat([net(x[i : i + 1], log_snr[i : i + 1], label[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(together, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_the_noise_level_is_heard(design, shape):
    x, _, label = inputs(shape)
    net = awake(built(design, shape, CLASSES))
    levels = [net(x, torch.tensor(level, dtype=x.dtype), label).flatten() for level in (-10.0, -0.1, 0.0, 10.0)]
    assert torch.pdist(torch.stack(levels)).min() > 1e-6


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_gradients_reach_every_parameter(design, shape):
    x, log_snr, label = inputs(shape)
    net = awake(built(design, shape, CLASSES))
    label = torch.tensor([-1, 0, 1, 2])  # each label at least once
    net(x, log_snr, label).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert net.encoder.entries[0].table.weight.grad.any(dim=1).all()


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_bf16_autocast_is_close_and_keeps_the_dtype(design, shape):
    x, log_snr, label = inputs(shape, dtype=torch.float32)
    net = awake(built(design, shape, CLASSES), torch.float32)
    exact = net(x, log_snr, label)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x, log_snr, label)
    assert y.dtype == x.dtype
    assert (y - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("design", [SMALL_MLP, SMALL_UNET])
def test_the_weights_are_the_whole_network(design):
    """Random frequencies are saved with it: a network loaded elsewhere is the same function, bit for bit."""
    x, log_snr, label = inputs((2, 4, 4))
    net = awake(built(design, (2, 4, 4), CLASSES))
    other = built(design, (2, 4, 4), CLASSES).double()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x, log_snr, label), net(x, log_snr, label))
    assert all(tensor.is_contiguous() for tensor in net.state_dict().values())  # as safetensors demands


@pytest.mark.parametrize("design", [SMALL_MLP, SMALL_UNET])
def test_compiles_to_the_same_function(design):
    x, log_snr, label = inputs((2, 4, 4), dtype=torch.float32)
    net = awake(built(design, (2, 4, 4), CLASSES), torch.float32)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = compiled(x, log_snr, label)
    assert torch.allclose(y, net(x, log_snr, label), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [8, 32, 64])
def test_attention_is_that_of_torch(width):
    attention = awake(PixelAttention(width))
    torch_attention = torch.nn.MultiheadAttention(width, attention.heads, batch_first=True, dtype=torch.float64)
    torch_attention.in_proj_weight.data = attention.query_key_value.weight.data
    torch_attention.in_proj_bias.data = attention.query_key_value.bias.data
    torch_attention.out_proj.load_state_dict(attention.out.state_dict())
    x = inputs((width, 3, 5))[0]
    pixels = attention.norm(x).flatten(2).mT
    read = torch_attention(pixels, pixels, pixels)[0].mT.reshape(x.shape)
    assert torch.allclose(attention(x), x + read)


@given(width=st.integers(1, 300), most=st.integers(1, 12), smallest=st.integers(1, 16))
def test_parts_divide_any_width(width, most, smallest):
    count = parts(width, most, smallest)
    assert 1 <= count <= most
    assert width % count == 0
    assert count == 1 or width // count >= smallest


@pytest.mark.parametrize("size", [1, 2, 64])
def test_the_waves_of_an_mlp_are_as_fine_for_points_of_any_size(size):
    torch.manual_seed(0)
    net = built(MLP(waves=4000, bandwidth=1.5), (size,))
    angles = torch.randn(1000, size) @ net.net.frequencies.T
    assert angles.std() == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize(
    ("design", "wrong"),
    [
        (MLP, {"width": 0}),
        (MLP, {"depth": 0}),
        (MLP, {"waves": 3}),
        (MLP, {"waves": -2}),
        (UNet, {"width": -1}),
        (UNet, {"blocks": 0}),
        (UNet, {"multiples": ()}),
        (UNet, {"multiples": (1, 0)}),
        (UNet, {"attention": -1}),
    ],
)
def test_an_impossible_description_is_refused(design, wrong):
    with pytest.raises(UserError, match="needs"):
        design(**wrong)


def test_a_wrong_shape_is_named():
    x, log_snr, _ = inputs((3, 8, 8), dtype=torch.float32)
    with pytest.raises(UserError, match=r"\(batch, 1, height, width\), not \(4, 3, 8, 8\)"):
        built(SMALL_UNET, (1, 8, 8))(x, log_snr)
    with pytest.raises(UserError, match=r"shape \(2,\), not \(3, 8, 8\)"):
        built(SMALL_MLP, (2,))(x, log_snr)
    with pytest.raises(UserError, match="use an MLP"):
        built(SMALL_UNET, (2,))


@pytest.mark.parametrize(("design", "shape"), CASES)
def test_conditions_that_do_not_exist_are_refused(design, shape):
    x, log_snr, _ = inputs(shape, dtype=torch.float32)
    with pytest.raises(UserError, match="without the condition 'label'"):
        built(design, shape)(x, log_snr, torch.zeros(4, dtype=torch.int64))
