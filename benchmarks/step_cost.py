"""What a sampling step costs above the network: python -m benchmarks.step_cost

The network answers at once with a stored tensor, so what is left is the library's own work. The unit is one
element-wise pass, ``x + y`` over the state of 64 x 3 x 32 x 32, timed in the same run; every figure is the fastest
of many, on one thread, because threads make the unit itself unsteady.

1. DDIM, with the conversion from eps, beside diffusers, azula and smalldiffusion.
2. Every step of ours: its time over the time of its own arithmetic, that is of the tensor operations that it
   dispatches, each run alone. Above 1 is Python and bookkeeping.
3. Peak memory of sampling at 10 and at 100 steps.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import peers
from undiffuse.core.linear import combine
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import Eps
from undiffuse.process import Affine, Linear
from undiffuse.sampling.loop import trajectory
from undiffuse.sampling.samplers import SAMPLERS

SHAPE = (64, 3, 32, 32)


class Stored(torch.nn.Module):
    """A network that answers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.y = torch.randn(SHAPE)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.y


class StoredNoise:
    """Noise that costs nothing, so that a step is measured and not the generator."""

    def __init__(self) -> None:
        self.z = torch.randn(SHAPE)

    def normal(self, like: Tensor) -> Tensor:
        return self.z

    def uniform(self, like: Tensor) -> Tensor:
        return self.z


def fastest(f: Callable[[], Any], seconds: float = 0.6) -> float:
    """The fastest of repeated runs, in seconds."""
    f()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(5):
            f()
        best = min(best, (time.perf_counter() - start) / 5)
    return best


def ddim_ours() -> Callable[[], Any]:
    process = Affine(Linear())
    step, denoiser, x = SAMPLERS["ddim"].make(process), Denoiser(Stored(), process, Eps()), torch.randn(SHAPE)
    return lambda: step(denoiser, x, 0.5, 0.4, None, StoredNoise)


def ddim_diffusers() -> Callable[[], Any]:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(10)
    net, x, t = Stored(), torch.randn(SHAPE), scheduler.timesteps[5]
    return lambda: scheduler.step(net(x), t, x).prev_sample


def ddim_azula() -> Callable[[], Any]:
    from azula.denoise import KarrasDenoiser
    from azula.noise import VPSchedule

    sampler = peers.azula_sample().DDIMSampler(KarrasDenoiser(Stored(), VPSchedule()), steps=10)
    x, t, s = torch.randn(SHAPE), torch.tensor(0.5), torch.tensor(0.4)
    return lambda: sampler.step(x, t, s)


def ddim_smalldiffusion() -> Callable[[], Any]:
    library = peers.smalldiffusion()

    class Model(Stored, library.ModelMixin):  # type: ignore[name-defined]
        input_dims = SHAPE[1:]

    model, x = Model(), torch.randn(SHAPE)
    sigmas = library.ScheduleDDPM().sample_sigmas(10)[4:6]

    from accelerate import Accelerator

    accelerator = Accelerator()
    return lambda: list(library.samples(model, sigmas, xt=x, batchsize=SHAPE[0], accelerator=accelerator))


class Recorder(TorchDispatchMode):
    """Every operation that touches something as large as the state, ready to be run again alone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        large = any(isinstance(a, Tensor) and a.numel() >= 64 * 3 * 32 * 32 for a in [*args, out])
        if large and "view" not in op.name() and op.name() not in ("aten::detach", "aten::alias"):
            copies = [a.clone() if isinstance(a, Tensor) else a for a in args]
            self.calls.append(lambda: op(*copies, **(kwargs or {})))
        return out


def own_arithmetic(name: str) -> tuple[float, float, int]:
    """(time of the fourth step, time of its operations alone, how many) with every multistep memory full."""
    process = Affine(Linear())
    sampler = SAMPLERS[name]
    step, denoiser, noise, x = (
        sampler.make(process),
        Denoiser(Stored(), process, Eps()),
        StoredNoise(),
        torch.randn(SHAPE),
    )
    denoise = denoiser.belief if name == "ddpm-learned" else denoiser
    memory, times = None, (0.8, 0.7, 0.6, 0.5, 0.4)
    for t, s in itertools.pairwise(times):
        memory = step(denoise, x, t, s, memory, noise)[1]

    def once() -> Any:
        return step(denoise, x, 0.5, 0.4, memory, noise)

    with Recorder() as recorder:
        once()
    return fastest(once), sum(fastest(call, 0.1) for call in recorder.calls), len(recorder.calls)


def peak_memory(steps: int) -> float:
    """Peak of tensors alive while sampling, in states."""
    process = Affine(Linear())
    denoiser, like = Denoiser(Stored(), process, Eps()), torch.empty(SHAPE)
    sampler = SAMPLERS["dpm++3m"]
    peak = 0
    times = sampler.grid(process.schedule, steps)
    noise = SeededNoise(0)
    states = trajectory(sampler.make(process), denoiser, process.start(like, noise), times, noise)
    for _ in states:
        peak = max(peak, sum(t.numel() for t in _tensors()))
    return peak / like.numel()


def _tensors() -> list[Tensor]:
    import gc

    return [o for o in gc.get_objects() if isinstance(o, Tensor) and o.numel() >= 64 * 3 * 32 * 32]


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        x, y = torch.randn(SHAPE), torch.randn(SHAPE)
        unit = fastest(lambda: x + y, 2.0)
        print(f"one element-wise pass: {unit * 1e6:.1f} us")
        fused, plain = (
            fastest(lambda: combine(0.3, x, 0.7, y), 2.0),
            fastest(lambda: x.mul(0.3).add_(y, alpha=0.7), 2.0),
        )
        print(f"a x + b y, in passes: combine {fused / unit:.2f}, x.mul(a).add_(y, alpha=b) {plain / unit:.2f}")
        print("\nDDIM step above the network, in passes")
        for name, make in {
            "undiffuse": ddim_ours,
            "diffusers": ddim_diffusers,
            "azula": ddim_azula,
            "smalldiffusion": ddim_smalldiffusion,
        }.items():
            print(f"  {name:16}{fastest(make(), 2.0) / unit:6.1f}")
        print("\nstep                  passes   time / own arithmetic   operations")
        for name in SAMPLERS:
            if name == "ddpm-learned":  # needs a network with twice the channels
                continue
            whole, alone, count = own_arithmetic(name)
            print(f"  {name:20}{whole / unit:6.1f}{whole / alone:16.2f}{count:18}")
        print(f"\npeak tensors alive, in states: 10 steps {peak_memory(10):.0f}, 100 steps {peak_memory(100):.0f}")


if __name__ == "__main__":
    main()
