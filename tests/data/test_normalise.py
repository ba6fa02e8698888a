"""The normalising codec: mean 0, deviation 1, and undone exactly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.codec import normalise
from undiffuse.codec.normalise import Normalise
from undiffuse.data.dataset import Dataset


@st.composite
def picture_batches(draw):
    count, channels, height, width = (draw(st.integers(low, 5)) for low in (2, 1, 1, 1))
    low = draw(st.integers(0, 255))
    high = draw(st.integers(low, 255))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    x = torch.randint(low, high + 1, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    if draw(st.booleans()):
        x[:, 0] = high  # a constant channel
    return x


@given(picture_batches())
def test_pictures_come_back_bit_for_bit(x):
    codec = Normalise.measure(x)
    z = codec.encode(x)
    assert z.dtype == torch.float32
    assert torch.equal(codec.decode(z), x)
    for channel in range(x.shape[1]):
        values = z[:, channel].double()
        assert values.mean().abs() < 1e-4
        varies = x[:, channel].min() < x[:, channel].max()
        assert values.std(unbiased=False).item() == pytest.approx(float(varies), abs=1e-4)


@given(
    count=st.integers(2, 50),
    scales=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 10**6),
)
def test_points_come_back_to_rounding(count, scales, offset, seed):
    scale = torch.tensor(scales)
    x = scale * (torch.randn(count, len(scales), generator=torch.Generator().manual_seed(seed)) + offset)
    codec = Normalise.measure(x)
    z, wide = codec.encode(x), x.double()
    assert torch.equal(codec.mean, wide.mean(0).float())
    tolerance = 4 * torch.finfo(torch.float32).eps
    assert ((codec.decode(z) - x).abs() <= tolerance * x.abs().amax(0)).all()
    assert (z.double().mean(0).abs() <= tolerance * (1 + x.abs().amax(0) / codec.std)).all()
    assert torch.allclose(z.double().std(0, unbiased=False), torch.ones(len(scales)).double(), atol=1e-3)


def test_every_value_survives_any_mean_and_deviation():
    x = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    codec = Normalise("pictures", (1, 1, 1))
    for mean in (0.0, 0.1, 127.3, 254.99):
        for std in (0.01, 1.0, 73.7, 127.5):
            codec.mean.fill_(mean)
            codec.std.fill_(std)
            assert torch.equal(codec.decode(codec.encode(x)), x)


def test_a_constant_column_is_undone_exactly():
    x = torch.stack([torch.full((1000,), 0.1), torch.rand(1000)], dim=1)
    codec = Normalise.measure(Dataset(x))
    assert codec.std[0] == 1
    assert torch.equal(codec.encode(x)[:, 0], torch.zeros(1000))
    assert torch.equal(codec.decode(codec.encode(x))[:, 0], x[:, 0])


def test_measuring_in_pieces_changes_nothing(monkeypatch):
    x = torch.randint(0, 256, (97, 3, 4, 5), dtype=torch.uint8)
    whole = Normalise.measure(x)
    monkeypatch.setattr(normalise, "MEASURED_AT_ONCE", 130)
    pieces = Normalise.measure(x)
    assert torch.equal(whole.mean, pieces.mean)
    torch.testing.assert_close(whole.std, pieces.std, rtol=1e-6, atol=0)
    torch.testing.assert_close(whole.mean.flatten(), x.double().mean((0, 2, 3)).float())
    torch.testing.assert_close(
        whole.std.flatten(), x.double().transpose(0, 1).flatten(1).std(1, unbiased=False).float()
    )


def test_it_travels_as_buffers():
    x = torch.rand(10, 3) * 5
    measured, fresh = Normalise.measure(x), Normalise("points", (3,))
    assert torch.equal(fresh.encode(x), x)
    fresh.load_state_dict(measured.state_dict())
    assert torch.equal(fresh.encode(x), measured.encode(x))
    assert not list(measured.parameters())


def test_inputs_are_left_alone_and_samples_are_clipped():
    codec = Normalise.measure(torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8))
    z = torch.tensor([-100.0, 0.0, 100.0]).reshape(3, 1, 1, 1).expand(3, 1, 4, 4).contiguous()
    kept = z.clone()
    low, middle, high = codec.decode(z)
    assert torch.equal(z, kept)
    assert (low == 0).all() and (high == 255).all() and (middle == codec.mean.round().to(torch.uint8)).all()
    x = torch.rand(5, 2)
    kept = x.clone()
    Normalise.measure(x).encode(x)
    assert torch.equal(x, kept)
