"""Images per second and peak memory of training and of sampling: python -m benchmarks.throughput

A U-Net and a transformer, each of one architecture and of nearly as many parameters in every library
(`benchmarks.contenders`), the same batch, optimiser and precision; repetitions are interleaved, so that whatever else
the machine does meets all alike. Figures are medians, with the range from the first to the third quartile.

FLOP are those of matrix products, convolutions and attention, as each network does them. On a GPU also the share of
what a plain matrix product reaches in the same run (model-FLOP utilisation).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contenders import CONTENDERS, Contender, Setting


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
    """Floating-point operations of one run: eager, and attention as two matrix products, for else some go uncounted."""
    plainly = torch.compiler.set_stance("force_eager")
    with plainly, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
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


def report(contenders: dict[str, Contender], action: str, setting: Setting, rounds: int) -> None:
    """Print one table, a line for each contender; the last is what the others are compared with."""
    work = {name: getattr(contender, action) for name, contender in contenders.items()}
    seconds = dict(zip(work, measure(list(work.values()), rounds, setting.device), strict=True))
    reached, last = matrix_product(setting), list(work)[-1]
    print(f"\n{action}, {setting.precision}: images/s (quartiles), x {last}, peak MiB, GFLOP an image, GFLOP/s", end="")
    print(f"; a matrix product reaches {reached / 1e9:.0f} GFLOP/s")
    for name, task in work.items():
        low, middle, high = statistics.quantiles(seconds[name], n=4)
        operations = flops(task)
        rate = operations / middle
        used = "" if setting.device == "cpu" else f"  {rate / reached:.0%} of a matrix product"  # the CPU's is no bound
        print(
            f"  {name:22}{setting.batch / middle:9.2f} "
            f"({setting.batch / high:.2f} to {setting.batch / low:.2f})"
            f"{statistics.median(seconds[last]) / middle:8.2f}{peak_memory(task, setting.device):9.0f}"
            f"{operations / setting.batch / 1e9:9.2f}{rate / 1e9:9.0f}{used}",
            flush=True,
        )


def profile(name: str, contender: Contender, action: str, device: str) -> None:
    """Print where the time goes."""
    getattr(contender, action)()
    with torch.profiler.profile() as result:
        getattr(contender, action)()
    key = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    print(f"\n{name}, {action}")
    print(result.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=40))


def entered(kind: str, setting: Setting, only: list[str] | None) -> dict[str, Contender]:
    """The contenders whose packages are there, by name; a line for each."""
    found = {}
    for name, make in CONTENDERS[kind].items():
        if only and name not in only:
            continue
        try:
            found[name] = make(setting)
        except ImportError as error:
            print(f"{name}: skipped, {error}")
            continue
        print(f"{name}: {sum(p.numel() for p in found[name].net.parameters()):,} parameters")
    return found


def main() -> None:
    names = dict.fromkeys(name for kind in CONTENDERS.values() for name in kind)
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--net", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    options.add_argument("--size", type=int, default=32, help="pixels a side")
    options.add_argument("--width", type=int, default=64, help="channels of the finest level; a transformer's is 3 x")
    options.add_argument("--depth", type=int, default=6, help="blocks of a transformer")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--steps", type=int, default=5, help="of sampling")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", nargs="+", choices=list(names), metavar="NAME", help=", ".join(names))
    options.add_argument("--profile", action="store_true", help="where the time goes, instead")
    given = options.parse_args()
    print(f"torch {torch.__version__}, {given.device}, {torch.get_num_threads()} threads")
    for kind in given.net:
        for precision in given.precision:
            setting = Setting(
                given.device, precision, given.size, given.batch, given.steps, given.width, depth=given.depth
            )
            print(f"\n{kind}")
            contenders = entered(kind, setting, given.only)
            for action in ("train", "sample"):
                if given.profile:
                    for name, contender in contenders.items():
                        profile(name, contender, action, setting.device)
                else:
                    report(contenders, action, setting, given.rounds)


if __name__ == "__main__":
    main()
