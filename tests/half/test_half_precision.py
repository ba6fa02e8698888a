"""With bf16 the network computes in half precision, and nothing else: states, losses and codes stay in float32.

On the processor by numbers; on CUDA by the types that a device that is not there answers with (`fake_cuda`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from fake_cuda import HERE, Device, device, half, on_device
from torch import nn

from undiffuse.codec import VQVAE
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Labels
from undiffuse.core.linear import combine
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.denoiser.classifier import ConditionClassifier
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import X0, EDMPrediction, Eps, Mean, Score, V, Velocity
from undiffuse.loss.categorical import TokenBound
from undiffuse.loss.variational import Hybrid, VariationalBound
from undiffuse.net import MLP, DiT, SpaceToDepth, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.table import TableMLP
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import Affine, Cosine, Ordinal
from undiffuse.process.categorical import TokenShape
from undiffuse.process.mixed import RowShape
from undiffuse.recipe.model import DiscreteDiffusion, GaussianDiffusion, MixedDiffusion, NoisyClassifier
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.samplers import SAMPLERS, samplers_of

SMALL = UNet(width=8, multiples=(1,), embedding=8)
LABELS = {"label": Labels(("a", "b", "c"))}
TOKENS = TokenTransformer(width=16, depth=1, heads=2)
MODELS = {
    "mlp": (GaussianDiffusion(MLP(width=8, depth=1, waves=2, embedding=8)), (2,)),
    "unet": (GaussianDiffusion(SMALL), (1, 8, 8)),
    "folded": (GaussianDiffusion(SpaceToDepth(SMALL, patch=(2, 2))), (1, 8, 8)),
    "dit": (GaussianDiffusion(DiT(width=16, depth=1, heads=2)), (1, 8, 8)),
    "learned variance": (GaussianDiffusion(SMALL, learned_variance=True, loss=Hybrid()), (1, 8, 8)),
    "bound": (GaussianDiffusion(SMALL, loss=VariationalBound()), (1, 8, 8)),
    "classifier": (NoisyClassifier(SMALL), (1, 8, 8)),
    "tokens": (DiscreteDiffusion(TOKENS), TokenShape((6,), 5)),
    "ordinal": (
        DiscreteDiffusion(Embedded(SMALL, width=4), Ordinal(), loss=TokenBound(), leave_one_out=True),
        TokenShape((1, 8, 8), 16),
    ),
    "table": (MixedDiffusion(TableMLP(width=16, depth=1)), RowShape(2, (3, 2))),
}
NETWORKS = {MLP, UNet, SpaceToDepth, DiT, TokenTransformer, Embedded, TableMLP}
assert {type(model.net) for model, _ in MODELS.values()} == NETWORKS


@contextmanager
def alone(there: Device, within: list[nn.Module]) -> Iterator[None]:
    """What the networks answer in half precision is their own; anything else is an error."""
    before: list[int] = []
    for network in within:
        network.register_forward_pre_hook(lambda *given: before.append(len(there.lowered)))
        network.register_forward_hook(lambda *given: there.lowered.__delitem__(slice(before.pop(), None)))
    there.lowered.clear()
    yield
    assert not there.lowered, sorted(set(there.lowered))


def rows(shape: tuple[int, ...], count: int = 4) -> torch.Tensor:
    if isinstance(shape, TokenShape):
        return torch.zeros(count, *shape, dtype=torch.int64, device=HERE)
    return torch.zeros(count, *shape, device=HERE)


def labels(count: int = 4) -> Conditions:
    zeros = torch.zeros(count, dtype=torch.int64, device=HERE)
    return Conditions({"label": Entry(zeros, zeros > -1)})


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_training_lowers_the_network_alone(name):
    """The loss, and so what its gradients begin with; the optimizer's step has none of it."""
    model, shape = MODELS[name]
    conditions = {} if isinstance(shape, RowShape) else LABELS
    with device() as there:
        denoiser = on_device(model.build(shape, conditions))
        assert all(weight.device.type == "cuda" for weight in denoiser.parameters())
        with half(), alone(there, networks(denoiser)):
            losses = model.loss(denoiser, rows(shape), Stream(), labels() if conditions else None)
            assert losses.mean().dtype == torch.float32
        for weight in denoiser.parameters():
            weight.grad = torch.zeros_like(weight)  # to go back takes CUDA
        optimizer = torch.optim.AdamW(denoiser.parameters(), fused=True)
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0, foreach=True)
        optimizer.step()


def networks(denoiser: nn.Module) -> list[nn.Module]:
    """What computes in half precision; a classifier is one altogether."""
    if isinstance(denoiser, ConditionClassifier):
        return [denoiser]
    return [module for name, module in denoiser.named_children() if name in ("net", "encoder")]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "classifier"])
def test_sampling_lowers_the_network_alone(name):
    """With autocast on all the while: more than a run asks for. By every sampler, pictures by one."""
    model, shape = MODELS[name]
    with device() as there:
        denoiser = on_device(model.build(shape, {}))
        process = denoiser.process
        learned = getattr(denoiser, "learned_variance", False)
        known = {name: sampler for name, sampler in samplers_of(process).items() if sampler.learned_variance == learned}
        if isinstance(model, GaussianDiffusion) and len(shape) == 3:
            known = {name: sampler for name, sampler in known.items() if name in ("dpm++2m", "ddpm-learned")}
        assert known
        with half(), alone(there, networks(denoiser)):
            for sampler in known.values():
                denoise, noise = denoiser.belief if learned else denoiser, Stream()
                x = process.start(rows(shape), noise)
                x = last(trajectory(sampler.make(process), denoise, x, (1.0, 0.5, 0.0), noise))
                assert x.dtype == rows(shape).dtype


@pytest.mark.parametrize("prediction", [Eps(), X0(), V(), Score(), Velocity(), Mean(), EDMPrediction()], ids=repr)
def test_states_are_float32_whatever_autocast_lowers(prediction):
    """`torch.addr` is a matrix product to autocast on CUDA: this fails where states are combined by it."""
    with device() as there, half():
        assert torch.addr(*_columns()).dtype == torch.bfloat16  # autocast is on
        x = rows((3,))
        assert combine(0.3, x, 0.7, x).dtype == torch.float32
        denoiser = Denoiser(_Answers(), Affine(Cosine()), prediction)
        there.lowered.clear()
        assert denoiser(x, 0.5).dtype == torch.float32 and denoiser(x, torch.full((4,), 0.5).double()).dtype == x.dtype
        assert not there.lowered


class _Answers(nn.Module):
    """A network without weights."""

    def forward(self, x: torch.Tensor, *told: object) -> torch.Tensor:
        return 0.5 * x


def _columns() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.zeros(4, 1, device=HERE), torch.zeros(4, device=HERE), torch.ones(1, device=HERE)


@pytest.mark.parametrize("name", [name for name, sampler in SAMPLERS.items() if not sampler.learned_variance])
def test_on_the_processor_autocast_changes_no_number_of_a_sampler(name):
    """Of a denoiser without weights: to rounding in float32 what it is in full precision."""
    process = Affine(Cosine())
    denoiser = Denoiser(_Answers(), process, V())
    made = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            noise = SeededNoise(0)
            x = process.start(torch.zeros(8, 3), noise)
            made.append(last(trajectory(SAMPLERS[name].make(process), denoiser, x, (0.9, 0.6, 0.3, 0.0), noise)))
    assert made[0].dtype == torch.float32
    torch.testing.assert_close(made[1], made[0], rtol=1e-4, atol=1e-5)


def test_on_the_processor_codes_are_chosen_in_full_precision():
    codec = VQVAE(codes=256, latent=8, width=8).build("pictures", (1, 8, 8))
    z = torch.nn.functional.normalize(torch.randn(500, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    full = codec.nearest(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codec.nearest(z), full)


def test_a_learned_variance_and_a_label_are_told_in_half_precision_too():
    """That the networks are lowered at all: autocast is on, and is heard."""
    model, shape = MODELS["learned variance"]
    with device() as there:
        denoiser = on_device(model.build(shape, LABELS))
        with half():
            denoiser.belief(rows(shape), 0.5, labels())
        assert any("convolution" in op for op in there.lowered)
        assert replace(model, learned_variance=True) == model
