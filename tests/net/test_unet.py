"""The U-Net of every setting, and how it may be computed: compiled, channels-last, in half precision."""

import warnings
from dataclasses import replace

import pytest
import torch
from conditioned import built
from test_networks import awake, inputs

from undiffuse.core.errors import UserError
from undiffuse.net import DiT, SpaceToDepth, UNet

DENSE = UNet(width=8, multiples=(1, 2, 2), blocks=(1, 0, 2), attention=(0, 2), embedding=8, dense=True)
EFFICIENT = UNet(8, (1, 1, 2), blocks=(0, 1, 2), embedding=8, skip_scale=0.5**0.5, resampling="early")
PLAIN = UNet(8, (1, 2), embedding=8, heads=1, resampling="plain")
DESIGNS = [pytest.param(DENSE, id="dense"), pytest.param(EFFICIENT, id="efficient"), pytest.param(PLAIN, id="plain")]


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 2), (3, 7, 5), (5, 4, 9)])
@pytest.mark.parametrize("batch", [1, 2])
def test_any_picture_goes_through_and_back(design, shape, batch):
    x, log_snr, label = inputs(shape, batch, torch.float32)
    net = awake(built(design, shape, 3), torch.float32)
    y = net(x, log_snr, label)
    assert y.shape == x.shape
    y.square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in net.parameters())


@pytest.mark.parametrize("design", DESIGNS)
def test_the_layout_in_memory_is_no_matter(design):
    x, log_snr, label = inputs((3, 6, 5))
    net = awake(built(design, x.shape[1:], 3))
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(net(x, log_snr, label), net(last, log_snr, label))
    assert torch.allclose(net.to(memory_format=torch.channels_last)(x, log_snr, label), net(x, log_snr, label))


@pytest.mark.parametrize(
    "design", [*DESIGNS, pytest.param(SpaceToDepth(PLAIN), id="folded"), pytest.param(DiT(), id="DiT")]
)
def test_a_prediction_is_contiguous_so_that_steps_take_one_pass(design):
    x, log_snr, label = inputs((3, 6, 4))
    assert awake(built(design, x.shape[1:], 3))(x, log_snr, label).is_contiguous()


@pytest.mark.parametrize("design", DESIGNS)
def test_compiled_in_place_it_is_the_same_function_of_the_same_names(design):
    x, log_snr, label = inputs((2, 5, 4), dtype=torch.float32)
    net = awake(built(design, x.shape[1:], 3), torch.float32)
    names, expected = list(net.state_dict()), net(x, log_snr, label)
    net.compile(backend="aot_eager", fullgraph=True)  # no graph breaks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.allclose(net(x, log_snr, label), expected, rtol=1e-4, atol=1e-5)
    assert list(net.state_dict()) == names


def test_dropout_hides_in_training_alone():
    x, log_snr, _ = inputs((1, 4, 4))
    net = awake(built(UNet(8, (1, 2), embedding=8, dropout=0.5), x.shape[1:]))
    assert not torch.equal(net(x, log_snr), net(x, log_snr))
    net.eval()
    assert torch.equal(net(x, log_snr), net(x, log_snr))


@pytest.mark.parametrize("design", [UNet(8, (1, 2), embedding=8), DENSE])
def test_skips_are_scaled(design):
    x, log_snr, _ = inputs((1, 4, 4))
    one, half = (awake(built(replace(design, skip_scale=scale), x.shape[1:]))(x, log_snr) for scale in (1.0, 0.5))
    assert not torch.allclose(one, half)


def test_one_number_is_the_same_for_each_level():
    """A count of the coarsest levels, or one number for all, is the tuple that says the same."""
    count = UNet(8, (1, 2, 2), attention=2, blocks=2, embedding=8)
    told = UNet(8, (1, 2, 2), attention=(1, 2), blocks=(2, 2, 2), embedding=8)
    assert [n for n, _ in built(count, (1, 8, 8)).named_parameters()] == [
        n for n, _ in built(told, (1, 8, 8)).named_parameters()
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"blocks": (1, 1, 1)},
        {"blocks": (1, 0)},
        {"blocks": (-1, 1)},
        {"attention": (2,)},
        {"attention": (-1,)},
        {"heads": 0},
        {"groups": 0},
        {"dropout": 1.0},
        {"skip_scale": 0.0},
    ],
)
def test_an_impossible_design_is_refused_in_one_line(wrong):
    with pytest.raises(UserError, match="needs") as error:
        UNet(**wrong)
    assert "\n" not in str(error.value)


def test_a_picture_without_pixels_is_refused_when_built():
    with pytest.raises(UserError, match="of any size"):
        built(UNet(), (1, 0, 4))


def test_dense_is_the_unet_of_diffusers():
    """The same layers: parameters apart from the noise level's embedding are as many, to 2 %."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
    )
    ours = built(UNet(32, (1, 2, 2), blocks=2, embedding=128, heads=2, dense=True), (3, 8, 8))
    convolutions = [
        sorted(
            tuple(m.weight.shape) for m in net.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)
        )
        for net in (ours, theirs)
    ]
    assert convolutions[0] == convolutions[1]
    count = [sum(weight.numel() for weight in net.parameters()) for net in (ours, theirs)]
    assert abs(count[0] / count[1] - 1) < 0.02
