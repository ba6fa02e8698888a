"""How soon does the command line answer? python -m benchmarks.start_up

Of `undiffuse --help`, `train --help`, which lists the fields of a recipe, and `recipes`, beside a Python that does
nothing: the medians of 7 of the wall time, and of the time on a processor, which other work on the machine moves less.
"""

import resource
import statistics
import subprocess
import sys
import time


def seconds(*words: str) -> tuple[float, float]:
    """The median wall time of a command, and the median of its time on a processor."""
    walls, busy = [], []
    for _ in range(7):
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - start)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(walls), statistics.median(busy)


def main() -> None:
    for words in (("-c", "pass"), ("--help",), ("train", "--help"), ("recipes",)):
        called = words if words[0] == "-c" else ("-m", "undiffuse", *words)
        wall, busy = seconds(*called)
        print(f"{' '.join(called):28} {wall:.3f} s, {busy:.3f} s on a processor")


if __name__ == "__main__":
    main()
