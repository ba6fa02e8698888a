"""Does the process stay cheap as the vocabulary grows? python -m benchmarks.token_cost [--longest 50000]

Times a draw of q(x_t | x_0) and of the posterior given a belief, for vocabularies of 500 to 50,000 classes, and texts
of 16 to 256 tokens, kernel by kernel, and prints microseconds a token, nanoseconds a token and class, and the power
of K and of the length by which the time grows: 1 is linear.
"""

import argparse
import math
import time
from collections.abc import Callable
from statistics import median

import torch

from undiffuse.core.noise import SeededNoise
from undiffuse.process import ABSORBING, UNIFORM, Categorical, Fading, Kernel, Neighbours, Ordinal, Replace

LENGTH, CLASSES = 16, 1_000  # where the other one varies
REPEATS = 3


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--longest", type=int, default=50_000, help="the largest vocabulary")
    options = words.parse_args()
    torch.set_num_threads(1)
    sizes = [k for k in (500, 2_000, 10_000, 50_000) if k <= options.longest]
    lengths = [16, 64, 256]
    head = "  ".join(f"K = {k:<7,}" for k in sizes)
    print(f"{LENGTH} tokens; microseconds a token (nanoseconds a token and class)")
    print(f"{'':22} {head}  power of K  power of length")
    for name, kernel in KERNELS.items():
        by_size = [seconds(kernel(k), k, LENGTH) for k in sizes]
        by_length = [seconds(kernel(CLASSES), CLASSES, length) for length in lengths]
        told = "  ".join(
            f"{1e6 * s / LENGTH:5.0f} ({1e9 * s / LENGTH / k:3.0f})" for s, k in zip(by_size, sizes, strict=True)
        )
        print(f"{name:22} {told}  {power(sizes, by_size):10.2f}  {power(lengths, by_length):15.2f}", flush=True)


def seconds(kernel: Kernel, classes: int, length: int) -> float:
    """A draw forth and a draw back of one text: the median of several."""
    process = Categorical(Fading(), kernel, classes)
    generator = torch.Generator().manual_seed(0)
    x_0 = torch.randint(0, classes, (1, length), generator=generator)
    belief = torch.randn(1, length, classes, generator=generator)
    taken = []
    for seed in range(REPEATS + 1):
        noise = SeededNoise(seed)
        start = time.process_time()
        x_t = process.corrupt(x_0, 0.6, noise)
        process.posterior(x_t, belief, 0.6, 0.5).sample(noise)
        taken.append(time.process_time() - start)
    return median(taken[1:])


def power(counts: list[int], times: list[float]) -> float:
    """By which the time grows from the first count to the last."""
    return math.log(times[-1] / times[0]) / math.log(counts[-1] / counts[0])


def like_words(classes: int) -> Neighbours:
    """Classes with eight neighbours each, at random: to find real ones costs K^2 once, and is not the process's."""
    return Neighbours(torch.randint(0, classes, (classes, 8), generator=torch.Generator().manual_seed(0)))


KERNELS: dict[str, Callable[[int], Kernel]] = {
    "mask": lambda classes: ABSORBING,
    "uniform": lambda classes: UNIFORM,
    "mask and replace": lambda classes: Replace(0.9),
    "in a row": lambda classes: Ordinal(),
    "in a space": like_words,
}


if __name__ == "__main__":
    main()
