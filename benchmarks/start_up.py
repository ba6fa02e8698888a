"""How soon does the command line answer? python -m benchmarks.start_up

The wall time of `undiffuse --help`, the median of 7, beside that of a Python that does nothing.
"""

import statistics
import subprocess
import sys
import time


def seconds(*words: str) -> float:
    """The median wall time of a command."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    print(f"python -c pass      {seconds('-c', 'pass'):.3f} s")
    print(f"undiffuse --help    {seconds('-m', 'undiffuse', '--help'):.3f} s")


if __name__ == "__main__":
    main()
