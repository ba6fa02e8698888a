"""Thousands of command lines and damaged files, and what was wrong with any answer: `make fuzz`.

python tests/fuzz/long.py --count 20000 --seed 0        all runs, of every kind of data
python tests/fuzz/long.py --seed 0 --only 4711          one of them again, as it was
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from cases import case
from judge import answer
from world import World, scratch


def main() -> int:
    """Try them; 1 if any answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.count) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HOME": folder, "COLUMNS": "160"}
        world, began = World(Path(folder) / "world"), time.monotonic()
        codes: Counter[int] = Counter()
        faults: Counter[str] = Counter()
        for number in numbers:
            if time.monotonic() - began > options.seconds:
                break
            with scratch(Path(folder) / "scratch"):
                tried = case(world, options.seed, number)
                found = answer(tried.words)
            codes[found.code] += 1
            faults.update(fault.split(":")[0] for fault in found.faults)
            if found.faults or options.only is not None:
                said = [f"{number}: {'; '.join(found.faults)}", f"{tried.words!r} {tried.done}", f"{found.err!r:.600}"]
                print("\n    ".join(said), flush=True)
                if options.only is not None:
                    print(found.out)
        seconds = time.monotonic() - began
    print(f"{codes.total()} tried in {seconds:.0f} s: exit codes {dict(codes)}; faults {dict(faults) or 'none'}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
