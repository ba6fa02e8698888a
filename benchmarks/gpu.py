"""Everything that needs a real GPU, in under ten minutes: make gpu, or python -m benchmarks.gpu [--device cpu --small]

networks   a training step of each, in float32, in bf16, and in bf16 compiled: rows a second, peak memory, TFLOP/s
laws       samplers of numbers on an exact Gaussian on the device, in float32 and with a denoiser computed in bf16: the
           standard deviation of samples over the right one

Without a GPU it says so and ends with 1. ``--device cpu --small`` runs all of it in miniature.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from undiffuse.core.noise import Stream
from undiffuse.exact import GaussianMixture
from undiffuse.loss.denoising import Denoising
from undiffuse.net import MLP, DiT, UNet
from undiffuse.process import Affine, Cosine
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.sampling.loop import sample
from undiffuse.sampling.samplers import SAMPLERS

STD = 0.5  # of the exact Gaussian
STEPS, ROWS = 100, 4096
FAR = 0.1  # of the right one, beyond which a sampler is wrong


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    side: int
    width: int
    batch: int
    steps: int


LARGE, SMALL = Size(64, 192, 64, 30), Size(8, 16, 2, 2)


def designs(size: Size) -> dict[str, tuple[object, tuple[int, ...]]]:
    """Networks, and the shape of the rows they are measured on."""
    picture = (3, size.side, size.side)
    return {
        "U-Net": (UNet(size.width, (1, 2, 2), blocks=2, embedding=4 * size.width), picture),
        "DiT": (DiT(width=2 * size.width, depth=8, heads=2), picture),
        "MLP": (MLP(width=8 * size.width, depth=4), (2,)),
    }


def training_step(net: object, shape: tuple[int, ...], size: Size, device: str, bf16: bool, compiled: bool) -> Callable:
    """A function that takes one step of training."""
    denoiser = GaussianDiffusion(net).build(shape, {}).to(device)  # type: ignore[arg-type]
    if compiled:
        denoiser.net.compile()
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-4, fused=True)
    x, noise, loss = torch.randn(size.batch, *shape, device=device), Stream(), Denoising()

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            value = loss(denoiser, x, noise).mean()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return step


def measured(step: Callable[[], None], size: Size, device: str) -> tuple[float, float, float]:
    """Rows a second, peak memory in GiB, and TFLOP/s."""
    cuda = device == "cuda"
    for _ in range(3):
        step()
    with FlopCounterMode(display=False) as counter:
        step()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(size.steps):
        step()
    if cuda:
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / size.steps
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")
    return size.batch / seconds, peak, counter.get_total_flops() / seconds / 1e12


def networks(size: Size, device: str) -> None:
    """The table of networks."""
    print(f"{'network':8}{'precision':18}{'rows/s':>12}{'peak GiB':>10}{'TFLOP/s':>10}")
    for name, (net, shape) in designs(size).items():
        for label, bf16, compiled in (("fp32", False, False), ("bf16", True, False), ("bf16, compiled", True, True)):
            if compiled and device != "cuda":
                continue
            rows, peak, flops = measured(training_step(net, shape, size, device, bf16, compiled), size, device)
            print(f"{name:8}{label:18}{rows:12,.0f}{peak:10.2f}{flops:10.2f}", flush=True)


def laws(device: str) -> bool:
    """The table of samplers; whether all are right."""
    process = Affine(Cosine())
    exact = GaussianMixture.isotropic(process, torch.zeros(1, 4, device=device), STD)
    like, right = torch.empty(ROWS, 4, device=device), True

    def half(x_t: Tensor, t: float) -> Tensor:
        answer: Tensor = exact(x_t, t)
        return answer.bfloat16().float()

    print(f"{'sampler':24}{'fp32':>8}{'bf16':>8}   (standard deviation over the right one, {STEPS} steps)")
    for name, sampler in SAMPLERS.items():
        if sampler.learned_variance:
            continue
        found = []
        for denoise in (exact, half):
            x = sample(process, sampler.make(process), denoise, like, sampler.grid(process.schedule, STEPS))
            found.append(float(x.std()) / STD)
        wrong = any(abs(ratio - 1) > FAR for ratio in found)
        right &= not wrong
        print(f"{name:24}{found[0]:8.3f}{found[1]:8.3f}{'   wrong' if wrong else ''}", flush=True)
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "no GPU: torch finds no CUDA device; in miniature on the processor: --device cpu --small", file=sys.stderr
        )
        return 1
    networks(SMALL if options.small else LARGE, options.device)
    return 0 if laws(options.device) else 1


if __name__ == "__main__":
    sys.exit(main())
