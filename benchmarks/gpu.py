"""Everything that needs a real GPU, in under ten minutes: make gpu, or python -m benchmarks.gpu [--device cpu --small]

networks   a training step of each, in fp32, in bf16, and in bf16 compiled: rows a second, peak memory, TFLOP/s, and the
           share that is of a plain matrix product's in the same precision
agreement  the loss and the gradient of each, beside the CPU's in float64: relative errors
samplers   each on an exact Gaussian on the device, in float32, and in bf16 as a run has it: the network's answer is
           rounded, all the rest is under autocast; the standard deviation of the samples over the right one

Ends with 1 where something is wrong, or there is no GPU. ``--device cpu --small`` runs it in miniature.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from undiffuse.condition.encoder import Routes
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import X0
from undiffuse.exact import GaussianMixture
from undiffuse.loss.denoising import Denoising
from undiffuse.net import MLP, DiT, UNet
from undiffuse.process import Affine, Cosine
from undiffuse.recipe.model import GaussianDiffusion, Net
from undiffuse.sampling.loop import sample
from undiffuse.sampling.samplers import SAMPLERS

STD = 0.5  # of the exact Gaussian
STEPS, ROWS = 100, 4096
FAR = 0.1  # of the right one, beyond which a sampler is wrong
CLOSE = {"fp32": 1e-2, "bf16": 0.2}  # relative errors beyond which a gradient is wrong; fp32 may be TF32


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    side: int
    width: int
    batch: int
    steps: int
    product: int  # rows of the matrices that are multiplied


LARGE, SMALL = Size(64, 192, 64, 30, 8192), Size(8, 16, 2, 2, 256)


def designs(size: Size) -> dict[str, tuple[Net, tuple[int, ...]]]:
    """Networks, and the shape of the rows they are measured on."""
    picture = (3, size.side, size.side)
    return {
        "U-Net": (UNet(size.width, (1, 2, 2), blocks=2, embedding=4 * size.width), picture),
        "DiT": (DiT(width=2 * size.width, depth=8, heads=2), picture),
        "MLP": (MLP(width=8 * size.width, depth=4), (2,)),
    }


def seconds(work: Callable[[], object], rounds: int, device: str) -> float:
    """The median of several rounds, after three that do not count."""
    times = []
    for _ in range(rounds + 3):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def training_step(net: Net, shape: tuple[int, ...], size: Size, device: str, bf16: bool, compiled: bool) -> Callable:
    """A function that takes one step of training."""
    denoiser = GaussianDiffusion(net).build(shape, {}).to(device)
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


def networks(size: Size, device: str) -> None:
    """The table of networks."""
    print(f"{'network':8}{'precision':18}{'rows/s':>12}{'peak GiB':>10}{'TFLOP/s':>10}{'of a product':>14}")
    reached = {}
    for bf16, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        a = torch.randn(size.product, size.product, device=device, dtype=dtype)
        reached[bf16] = 2 * size.product**3 / seconds(lambda a=a: a @ a, size.steps, device)
    for name, (net, shape) in designs(size).items():
        operations = 0
        for label, bf16, compiled in (("fp32", False, False), ("bf16", True, False), ("bf16, compiled", True, True)):
            if compiled and device != "cuda":
                continue
            step = training_step(net, shape, size, device, bf16, compiled)
            if not operations:  # the same, however they are computed
                with FlopCounterMode(display=False) as counter:
                    step()
                operations = counter.get_total_flops()
            each = seconds(step, size.steps, device)
            peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
            rate, share = operations / each, operations / each / reached[bf16]
            print(
                f"{name:8}{label:18}{size.batch / each:12,.0f}{peak:10.2f}{rate / 1e12:10.2f}{share:14.0%}",
                flush=True,
            )
            del step
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()


class Alike(SeededNoise):
    """The same numbers in every precision."""

    def normal(self, like: Tensor) -> Tensor:
        return super().normal(like.float()).to(like)

    def uniform(self, like: Tensor) -> Tensor:
        return super().uniform(like.float()).to(like)


def gradient(denoiser: Denoiser, x: Tensor, bf16: bool) -> tuple[float, Tensor]:
    """The loss at noise that belongs to the rows, and its gradient, on the CPU."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        loss = Denoising()(denoiser, x, Alike(0)).mean()
    loss.backward()
    return loss.item(), torch.cat(
        [p.grad.flatten().cpu().double() for p in denoiser.parameters() if p.grad is not None]
    )


def agreement(device: str) -> bool:
    """The table of losses and gradients; whether all are near."""
    right, size = True, SMALL
    print(f"\n{'network':8}{'precision':12}{'loss':>10}{'gradient':>10}   (relative errors beside float64)")
    for name, (net, shape) in designs(size).items():
        torch.manual_seed(0)
        truth = GaussianDiffusion(net).build(shape, {})
        for weight in truth.parameters():
            nn.init.normal_(weight, std=0.1)  # also of layers that begin at zero
        x = torch.randn(size.batch, *shape)
        loss, exact = gradient(copy.deepcopy(truth).double(), x.double(), bf16=False)
        for label, far in CLOSE.items():
            found, slope = gradient(copy.deepcopy(truth).to(device), x.to(device), label == "bf16")
            error = float((slope - exact).norm() / exact.norm())
            right &= error < far
            wrong = "   wrong" if error >= far else ""
            print(f"{name:8}{label:12}{abs(found / loss - 1):10.1e}{error:10.1e}{wrong}", flush=True)
    return right


class Answers(nn.Module):
    """A network that knows x_0 of the exact Gaussian, and says it in half precision if that is asked for."""

    def __init__(self, process: Affine, device: str, half: bool) -> None:
        super().__init__()
        self.exact = GaussianMixture.isotropic(process, torch.zeros(1, 4, device=device), STD)
        self.process, self.half_precision = process, half
        self.t = 1.0

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            answer: Tensor = self.exact(x / self.process.input_scale(self.t), self.t)
        return answer.bfloat16().float() if self.half_precision else answer


def drawn(name: str, device: str, half: bool) -> Tensor:
    """Samples of the exact Gaussian by a sampler, as a run draws them."""
    process, sampler = Affine(Cosine()), SAMPLERS[name]
    answers = Answers(process, device, half)
    denoiser = Denoiser(answers, process, X0())

    @torch.autocast(device, torch.bfloat16, enabled=half)
    def denoise(x_t: Tensor, t: float) -> Tensor:
        answers.t = t
        answer: Tensor = denoiser(x_t, t)
        return answer

    times = sampler.grid(process.schedule, STEPS)
    return sample(process, sampler.make(process), denoise, torch.empty(ROWS, 4, device=device), times)


def samplers(device: str) -> bool:
    """The table of samplers; whether all are right."""
    print(f"\n{'sampler':24}{'fp32':>8}{'bf16':>8}   (standard deviation over the right one, {STEPS} steps)")
    right = True
    for name, sampler in SAMPLERS.items():
        if sampler.learned_variance:
            continue
        found = [float(drawn(name, device, half).std()) / STD for half in (False, True)]
        wrong = any(not abs(ratio - 1) < FAR for ratio in found)
        right &= not wrong
        print(f"{name:24}{found[0]:8.3f}{found[1]:8.3f}{'   wrong' if wrong else ''}", flush=True)
    return right


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU: torch finds no CUDA device; in miniature on the CPU: --device cpu --small", file=sys.stderr)
        return 1
    networks(SMALL if options.small else LARGE, options.device)
    right = [agreement(options.device), samplers(options.device)]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
