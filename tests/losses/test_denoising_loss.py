"""The denoising loss: the same for every prediction, minimal at the exact denoiser, finite wherever it is asked."""

import pytest
import torch
from conditioned import built, labels
from stand_ins import PREDICTIONS, SCHEDULES, ZERO_TERMINAL, At, Says, name, numbers, posterior_mean, seeded, wrong
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from undiffuse.condition.encoder import Routes
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import V, Velocity
from undiffuse.loss.adaptive import Adaptive
from undiffuse.loss.denoising import Denoising, PseudoHuber, Squared
from undiffuse.loss.integral import Integral
from undiffuse.loss.time import Uniform
from undiffuse.loss.weight import EDMWeight, MinSNR, Plain, Simple
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.process import VP, Affine, Cosine, PoissonNoise

STD = 0.6
WEIGHTS = [Plain(), Simple(), Simple(Velocity()), MinSNR(), EDMWeight(), Integral()]
DISTANCES = [Squared(), PseudoHuber(0.3)]


def data(count=8, size=3):
    return STD * torch.randn(count, size, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def denoiser_of(belief, schedule, prediction, z=None):
    process = Affine(schedule) if z is None else Affine(schedule, z)
    return Denoiser(Says(belief, process, prediction), process, prediction)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@pytest.mark.parametrize("distance", DISTANCES, ids=name)
def test_the_same_belief_costs_the_same_in_every_prediction(schedule, distance):
    for weight in [weight for weight in WEIGHTS if weight != Plain()]:
        loss = Denoising(Uniform(start=0.05), weight, distance)
        first, *others = [loss(denoiser_of(wrong, schedule, p), data(), seeded()) for p in PREDICTIONS]
        for other in others:
            torch.testing.assert_close(other, first, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=name)
def test_plain_is_the_mean_squared_error_of_what_is_said(prediction):
    process, t = Affine(VP()), numbers(0.1, 0.4, 0.7, 0.9)
    x_0, z = data(4), seeded().normal(data(4))
    y = denoiser_of(wrong, VP(), prediction).output(process.mix(x_0, z, t), t).y
    a, b = (torch.as_tensor(c).double().expand(4)[:, None] for c in prediction(VP(), t))
    loss = Denoising(At(tuple(t.tolist())), Plain())(denoiser_of(wrong, VP(), prediction), x_0, seeded())
    torch.testing.assert_close(loss, ((y - a * x_0 - b * z) ** 2).mean(1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", WEIGHTS, ids=name)
@pytest.mark.parametrize("prediction", PREDICTIONS[:5], ids=name)
def test_the_minimiser_is_the_exact_denoiser(weight, prediction):
    """Among x_0_hat = k x_t at one t the squared loss is a parabola in k, lowest at the posterior mean's."""
    t, x_0 = 0.4, data(40_000, 1)
    loss = Denoising(At((t,)), weight)

    def cost(k):
        denoiser = denoiser_of(lambda x_t, alpha, sigma: k * x_t, VP(), prediction).eval()
        return float(loss(denoiser, x_0, seeded()).mean())

    low, middle, high = cost(0.0), cost(0.5), cost(1.0)
    curvature = 2 * (low - 2 * middle + high)
    lowest = (3 * low - 4 * middle + high) / (2 * curvature)
    alpha, sigma, _ = VP().at(t)
    assert lowest == pytest.approx(alpha * STD**2 / (alpha**2 * STD**2 + sigma**2), rel=0.03)


def test_of_the_exact_denoiser_it_is_the_posterior_variance():
    times = (0.2, 0.5, 0.8)
    losses = Denoising(At(times))(denoiser_of(posterior_mean(STD), VP(), V()), data(90_000, 1), seeded())
    for i, t in enumerate(times):
        snr = STD**2 * torch.tensor(VP().at(t).log_snr).exp()
        assert losses[i::3].mean() == pytest.approx(float(snr / (1 + snr)), rel=0.03)


@pytest.mark.parametrize("schedule", [*SCHEDULES[:-1], *ZERO_TERMINAL], ids=name)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=name)
@pytest.mark.parametrize("distance", DISTANCES, ids=name)
def test_gradients_are_finite_at_every_time(schedule, prediction, distance):
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.y = nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))

        def forward(self, x, routes):
            return self.y

    blind = name(prediction) in ("Eps", "Score") and schedule in ZERO_TERMINAL
    times = (1e-6, 1e-3, 0.5, 0.999999 if blind else 1.0)
    for weight in WEIGHTS:
        net = Free()
        Denoising(At(times), weight, distance)(
            Denoiser(net, Affine(schedule), prediction), data(4), seeded()
        ).mean().backward()
        assert net.y.grad.isfinite().all()
        if not isinstance(weight, Integral):
            assert net.y.grad[2].abs().max() > 0


def test_pseudo_huber_is_squared_near_and_linear_far():
    huber = PseudoHuber(0.1)
    near, far = numbers(1e-6), numbers(1e6)
    torch.testing.assert_close(huber(near), near / 0.2, rtol=1e-3, atol=0)
    torch.testing.assert_close(huber(far), far.sqrt() - 0.1, rtol=1e-6, atol=0)
    with pytest.raises(UserError):
        PseudoHuber(0.0)


@pytest.mark.parametrize("D", [1.0, 128.0, float("inf")])
def test_poisson_flow_trains_with_the_same_loss(D):
    process_z = PoissonNoise(D)
    x_0 = data(16)
    z = process_z.sample(x_0, seeded())
    denoiser = denoiser_of(wrong, VP(), V(), process_z)
    loss = Denoising(At((0.3, 0.6)))(denoiser, x_0, seeded())
    t = numbers(0.3, 0.6).repeat(8)
    x_t = denoiser.process.mix(x_0, z, t)
    alpha, sigma, _ = VP().at(t)
    z_hat = (x_t - alpha[:, None] * denoiser(x_t, t)) / sigma[:, None]
    torch.testing.assert_close(loss, ((z - z_hat) ** 2).mean(1), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shape", [(2,), (1, 5, 7), (3, 4, 4), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_are_one_a_sample_in_the_datas_type(shape, dtype):
    class Zero(nn.Module):
        def forward(self, x, routes):
            assert routes.vector.dtype == dtype and routes.vector.shape == (6,)
            return torch.zeros_like(x)

    losses = Denoising()(Denoiser(Zero(), Affine(Cosine()), V()), torch.randn(6, *shape, dtype=dtype), Stream())
    assert losses.shape == (6,) and losses.dtype == dtype and losses.isfinite().all()


def test_conditions_reach_the_network():
    class Scaled(nn.Module):
        def forward(self, x, routes):
            return x * routes.vector[:, None]

    denoiser = Denoiser(Scaled(), Affine(Cosine()), V(), encoder=lambda level, asked: Routes(asked.entries["k"].values))
    x_0, k = data(4), torch.tensor([0, 1, 2, 3])
    one, other = (Denoising()(denoiser, x_0, seeded(), labels(k=y)) for y in (k, k.flip(0)))
    assert not one.equal(other)


def test_a_learning_law_is_told_the_losses_in_training_only():
    law = Adaptive(bins=4).build()
    denoiser = denoiser_of(wrong, Cosine(), V())
    Denoising(law)(denoiser.eval(), data(), seeded())
    assert law.mass.sum() == 0
    Denoising(law)(denoiser.train(), data(), seeded())
    assert law.mass.sum() > 0


class Sent(TorchDispatchMode):
    """Watches what is copied from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if function is torch.ops.aten._to_copy.default and keywords.get("device") not in (None, arguments[0].device):
            self.count += 1
            if not keywords.get("non_blocking") or keywords.get("dtype") not in (None, arguments[0].dtype):
                self.waited_for.append(f"{tuple(arguments[0].shape)} {arguments[0].dtype} to {keywords['device']}")
        return function(*arguments, **keywords)


@pytest.mark.parametrize("weight", WEIGHTS, ids=name)
@pytest.mark.parametrize("waves", [0, 2])
def test_nothing_in_a_loss_waits_for_the_device(weight, waves):
    """Times are of the CPU; a device that computes nothing stands for any other."""
    process = Affine(Cosine())
    net = built(SpaceToDepth(UNet(width=8, embedding=8), waves=waves), (1, 8, 8)).to("meta")
    x_0 = torch.empty(4, 1, 8, 8, device="meta")
    with Sent() as sent:
        losses = Denoising(weight=weight)(Denoiser(net.net, process, V(), encoder=net.encoder), x_0, Stream())
    assert losses.device.type == "meta" and sent.count and not sent.waited_for
