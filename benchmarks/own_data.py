"""Data of one's own by the clock: python -m benchmarks.own_data DATA ... [--minutes 10] [--sizes 16,64]

For each: `undiffuse train DATA --minutes M [--sizes S]`; how far its end is from the clock, in percent of M; what was
chosen; what the last report says; and the measures of `undiffuse evaluate` beside their floors. The samples to look at
are in OUT/NAME/pictures, OUT being runs/own unless --out names another folder.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from undiffuse.kind import evaluate
from undiffuse.run.folder import load
from undiffuse.train.log import lines
from undiffuse.train.verdict import verdict


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("data", nargs="+")
    words.add_argument("--minutes", type=float, default=10.0)
    words.add_argument("--sizes", help="of a cascade")
    words.add_argument("--out", type=Path, default=Path("runs/own"), help="for runs")
    options = words.parse_args()
    for data in options.data:
        folder = options.out / Path(data).stem
        began = time.monotonic()
        sizes = ["--sizes", options.sizes] if options.sizes else []
        how = ["--minutes", str(options.minutes), *sizes, "--out", str(folder)]
        subprocess.run([sys.executable, "-m", "undiffuse", "train", data, *how], check=True)
        off = (time.monotonic() - began) / 60 / options.minutes - 1
        run = load(folder)
        said = verdict(lines(folder / "log.jsonl"))
        print(f"{data}: {run.step:,} steps, the end {off:+.1%} from the clock; {said}", flush=True)
        for row in evaluate(run).rows:
            print(f"  {row.name:40} {row.value:.4g} (floor {row.floor:.4g})")


if __name__ == "__main__":
    main()
