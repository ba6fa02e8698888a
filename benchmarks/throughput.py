"""Images per second and peak memory of training and of sampling: python -m benchmarks.throughput

One architecture (widths, blocks, attention; parameters within 2 %) in every library, the same batch, optimiser and
precision; repetitions are interleaved, so that whatever else the machine does meets all alike. Figures are medians,
with the range from the first to the third quartile.

Training is a whole step: ours as `undiffuse.train.trainer` takes it, diffusers' as its training example does. Sampling
is DDIM: our driver's loop, and that of diffusers' ``DDIMScheduler``. On a GPU also the share of what a plain matrix
product reaches in the same run (model-FLOP utilisation).

A contender is a class with a name, a network, ``train()`` for one step and ``sample()`` for one batch: add it to
``CONTENDERS``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from undiffuse.denoiser import Denoiser
from undiffuse.net import UNet
from undiffuse.predict import Eps
from undiffuse.process import Affine, Linear
from undiffuse.sample import sample
from undiffuse.samplers import SAMPLERS


@dataclass(frozen=True)
class Setting:
    """What every contender is given."""

    device: str
    precision: Literal["fp32", "bf16"]
    size: int
    batch: int
    steps: int  # of sampling
    width: int = 64
    multiples: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    head_width: int = 32
    groups: int = 8
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.size, self.size

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def pictures(self) -> Tensor:
        return torch.randint(0, 256, self.shape, dtype=torch.uint8, device=self.device)


class Ours:
    """Our U-Net, `Trainer`'s step and `sample`."""

    name, compiled = "undiffuse", False

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        width = setting.width * setting.multiples[-1]
        design = UNet(
            setting.width,
            setting.multiples,
            setting.blocks,
            embedding=4 * setting.width,
            heads=width // setting.head_width,
            groups=setting.groups,
            dense=True,
        )
        self.trainer = _trainer(design, setting, self.compiled)
        self.net = self.trainer.objective.denoiser.net
        process = Affine(Linear())
        self.denoiser = Denoiser(self.net, process, Eps())
        self.process, self.sampler = process, SAMPLERS["ddim"]

    def train(self) -> None:
        self.trainer.step()

    def sample(self) -> Tensor:
        times = self.sampler.grid(self.process.schedule, self.setting.steps)
        like = torch.empty(self.setting.shape, device=self.setting.device)
        with self.setting.autocast():
            return sample(self.process, self.sampler.make(self.process), self.denoiser, like, times)


class OursCompiled(Ours):
    """The same, compiled."""

    name, compiled = "undiffuse, compiled", True


class Diffusers:
    """``UNet2DModel`` with its training example's step and ``DDIMScheduler``."""

    name, package = "diffusers", "diffusers"

    def __init__(self, setting: Setting) -> None:
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

        self.setting = setting
        levels = len(setting.multiples)
        self.net = UNet2DModel(
            sample_size=setting.size,
            in_channels=setting.channels,
            out_channels=setting.channels,
            layers_per_block=setting.blocks,
            block_out_channels=tuple(setting.width * m for m in setting.multiples),
            down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
            attention_head_dim=setting.head_width,
            norm_num_groups=setting.groups,
            resnet_time_scale_shift="scale_shift",
        ).to(setting.device)
        self.train_scheduler, self.scheduler = DDPMScheduler(), DDIMScheduler()
        self.averaged = _diffusers_ema(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4)

    def train(self) -> None:
        """As ``examples/unconditional_image_generation`` does, with its averages."""
        x_0 = self.setting.pictures().float() / 127.5 - 1
        noise = torch.randn_like(x_0)
        t = torch.randint(0, 1000, (len(x_0),), device=x_0.device)
        x_t = self.train_scheduler.add_noise(x_0, noise, t)
        with self.setting.autocast():
            y = self.net(x_t, t).sample
        nn.functional.mse_loss(y.float(), noise).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averaged.step(self.net.parameters())

    @torch.no_grad()
    def sample(self) -> Tensor:
        self.scheduler.set_timesteps(self.setting.steps)
        x = torch.randn(self.setting.shape, device=self.setting.device)
        for t in self.scheduler.timesteps:
            with self.setting.autocast():
                y = self.net(x, t).sample
            x = self.scheduler.step(y, t, x).prev_sample
        return x


CONTENDERS: tuple[type[Any], ...] = (Ours, OursCompiled, Diffusers)


def _diffusers_ema(net: nn.Module) -> Any:
    from diffusers.training_utils import EMAModel

    return EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True)


def _trainer(design: UNet, setting: Setting, compiled: bool) -> Any:
    from accelerate import Accelerator

    from undiffuse.data.dataset import Dataset
    from undiffuse.data.source import Digits
    from undiffuse.recipe import Recipe
    from undiffuse.train.trainer import Trainer

    pictures = torch.randint(0, 256, (4 * setting.batch, *setting.shape[1:]), dtype=torch.uint8)
    recipe = Recipe(
        Digits(),
        design,
        schedule=Linear(),
        prediction=Eps(),
        batch=setting.batch,
        lr=1e-4,
        averages=(0.05,),
        precision=setting.precision,
        compile=compiled,
    )
    data = Dataset(pictures, None, (), "pictures")
    return Trainer(recipe, data, Accelerator(cpu=setting.device == "cpu"))


def measure(work: list[Callable[[], Any]], rounds: int, device: str) -> list[list[float]]:
    """Seconds of each piece of work, each round, in turn; after one round that does not count."""
    seconds: list[list[float]] = [[] for _ in work]
    for number in range(rounds + 1):
        for task, kept in zip(work, seconds, strict=True):
            _wait(device)
            start = time.perf_counter()
            task()
            _wait(device)
            if number:
                kept.append(time.perf_counter() - start)
    return seconds


def flops(work: Callable[[], Any]) -> int:
    """Floating-point operations of one run."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def matrix_product(setting: Setting) -> float:
    """FLOP/s of a plain matrix product in this precision."""
    n = 8192 if setting.device != "cpu" else 1024
    a = torch.randn(n, n, device=setting.device, dtype=torch.bfloat16 if setting.precision == "bf16" else torch.float32)
    return 2 * n**3 / statistics.median(measure([lambda: a @ a], 10, setting.device)[0])


def peak_memory(work: Callable[[], Any], device: str) -> float:
    """MiB: on an accelerator of what the work allocates at once, on the CPU of the tensors that live at once."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    held = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def _wait(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def report(contenders: list[Any], action: str, setting: Setting, rounds: int) -> None:
    """Print one table, a line for each contender; the last is what the others are compared with."""
    work = [getattr(contender, action) for contender in contenders]
    seconds = measure(work, rounds, setting.device)
    operations, reached = flops(work[0]), matrix_product(setting)  # the same arithmetic for all, counted eager
    print(f"\n{action}, {setting.precision}: images/s (quartiles), x {contenders[-1].name}, peak MiB, FLOP/s", end="")
    print(f"; a matrix product reaches {reached / 1e9:.0f} GFLOP/s")
    for contender, task, times in zip(contenders, work, seconds, strict=True):
        low, middle, high = statistics.quantiles(times, n=4)
        rate = operations / middle
        used = "" if setting.device == "cpu" else f"  {rate / reached:.0%} of a matrix product"  # the CPU's is no bound
        print(
            f"  {contender.name:22}{setting.batch / middle:9.2f} "
            f"({setting.batch / high:.2f} to {setting.batch / low:.2f})"
            f"{statistics.median(seconds[-1]) / middle:8.2f}{peak_memory(task, setting.device):9.0f}"
            f"{rate / 1e9:9.0f}G{used}"
        )


def profile(contender: Any, action: str) -> None:
    """Print where the time goes."""
    with torch.profiler.profile() as result:
        getattr(contender, action)()
    key = "self_cuda_time_total" if contender.setting.device == "cuda" else "self_cpu_time_total"
    print(f"\n{contender.name}, {action}")
    print(result.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=40))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    options.add_argument("--size", type=int, default=32, help="pixels a side")
    options.add_argument("--width", type=int, default=64, help="channels of the finest level")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--steps", type=int, default=5, help="of sampling")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", nargs="+", help="contenders, by name: " + ", ".join(k.name for k in CONTENDERS))
    options.add_argument("--profile", action="store_true", help="where the time goes, instead")
    chosen = options.parse_args()
    print(f"torch {torch.__version__}, {chosen.device}, {torch.get_num_threads()} threads")
    for precision in chosen.precision:
        setting = Setting(chosen.device, precision, chosen.size, chosen.batch, chosen.steps, chosen.width)
        contenders = [kind(setting) for kind in CONTENDERS if not chosen.only or kind.name in chosen.only]
        for contender in contenders:
            print(f"{contender.name}: {sum(p.numel() for p in contender.net.parameters()):,} parameters")
        for action in ("train", "sample"):
            if chosen.profile:
                for contender in contenders:
                    profile(contender, action)
            else:
                report(contenders, action, setting, chosen.rounds)


if __name__ == "__main__":
    main()
