"""How soon does a training of a large text, or table, start? python -m benchmarks.start_up_large [--text 1] [--rows 2]

A text of so many GB, and a table of so many million rows and eight columns, are made in a temporary folder. Then, each
in a process of its own: opening it the first time, which makes the cache beside; opening it a second time, with the
codec; and reading 10,000 batches of 32. Seconds of one core are what the work costs, whatever else the machine does;
memory is the most that the process held, mapped pages included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.start_up_data import memory

BATCHES = 10_000
TEXT = "the noise of a sample is what is left when all that was known of it has been taken away\n"
WORDS = TEXT.split(" ")


def write_text(path: Path, size: float) -> None:
    dice = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as out:
        while out.tell() < size * 1e9:
            out.write(" ".join(WORDS[k] for k in dice.integers(0, len(WORDS), 1_000_000)))


def write_table(path: Path, rows: float) -> None:
    dice = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as out:
        out.write("age,height,income,city,joined,score,kind,count\n")
        for _ in range(max(1, round(rows * 10))):
            numbers, whole = dice.normal(size=(100_000, 3)), dice.integers(0, 1000, (100_000, 4))
            out.writelines(
                f"{20 + b[3] % 60},{a[0]:.4f},{a[1]:.2f},city {b[0] % 50},2026-{1 + b[1] % 12:02d}-{1 + b[2] % 28:02d},"
                f"{a[2]:.3f},{'abc'[b[3] % 3]},{b[0]}\n"
                for a, b in zip(numbers, whole, strict=True)
            )


def opening(path: Path) -> str:
    """As a training does: both parts, and the codec."""
    from undiffuse.recipes.own import own_data

    began, busy = time.perf_counter(), time.process_time()
    recipe = own_data(path)
    data, held_out = (recipe.data.open(split) for split in ("train", "test"))
    recipe.codec.measure(data)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return f"{seconds:.1f} s, {busy:.1f} s of one core; {len(data):,} + {len(held_out):,} rows; {memory()}"


def batches(path: Path) -> str:
    """Batches of 32."""
    import torch

    from undiffuse.recipes.own import own_data
    from undiffuse.train.batches import Batches

    read = Batches(own_data(path).data.open(), 32, 0, torch.device("cpu"))
    began = time.process_time()
    for step in range(BATCHES):
        read(step)
    return f"{1e3 * (time.process_time() - began) / BATCHES:.2f} ms of one core a batch of 32; {memory()}"


PARTS = {"the first time": opening, "the second time": opening, "batches": batches}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", type=float, default=1.0, help="GB")
    parser.add_argument("--rows", type=float, default=2.0, help="millions")
    parser.add_argument("--part", nargs=2, help="one part, of a file")
    options = parser.parse_args()
    if options.part:
        print(PARTS[options.part[0]](Path(options.part[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNDIFFUSE_CACHE"] = str(Path(folder) / "caches")
        for name, write, size in (("book.txt", write_text, options.text), ("people.csv", write_table, options.rows)):
            path = Path(folder) / name
            write(path, size)
            print(f"{name}, {path.stat().st_size / 1e9:.2f} GB")
            for part in PARTS:
                command = [sys.executable, "-m", "benchmarks.start_up_large", "--part", part, str(path)]
                said = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"  {part}: {said.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
