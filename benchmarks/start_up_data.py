"""How soon does a training of many pictures start? python -m benchmarks.start_up_data [--count 20000] [--side 256]

Jpegs are made in a temporary folder, half of them of each of two labels. Then, each in a process of its own: decoding
them with Pillow alone, by a process on each core; opening them the first time, which decodes them into a cache beside;
opening them a second time, and measuring the codec; and reading batches of a whole epoch from there. Seconds of
one core are what the work costs, whatever else the machine does; memory is the most that the process held, mapped pages
included.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

BASES = 40  # pictures that all others are mixed of


def draw(folder: Path, count: int, side: int) -> None:
    """Blurred noise of many scales, with grain: neither flat nor incompressible, as photographs are."""
    dice, bases = np.random.default_rng(0), []
    for _ in range(BASES):
        values = dice.normal(128, 4, (side, side, 3)).astype(np.float32)
        for cells in (4, 16, 64):
            coarse = Image.fromarray(dice.integers(0, 256, (cells, cells, 3), np.uint8))
            large = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
            values += (large - 128) * 2 / cells**0.5
        bases.append(values)
    for k in range(count):
        path = folder / "ab"[k % 2] / f"{k:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        mixed = 0.7 * bases[k % BASES] + 0.3 * np.roll(bases[k // BASES % BASES], 13 * k % side, axis=k % 2)
        Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def decoded(path: str) -> int:
    with Image.open(path) as picture:
        return int(np.asarray(picture.convert("RGB"))[0, 0, 0])


def decoding(folder: Path, side: int) -> str:
    """All of them, with Pillow alone."""
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    began = time.perf_counter()
    with ProcessPoolExecutor() as processes:
        list(processes.map(decoded, paths, chunksize=64))
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of one core; {os.cpu_count()} cores"


def opening(folder: Path, side: int) -> str:
    """As a training does: both parts, and the codec."""
    from undiffuse.codec.normalise import Normalise
    from undiffuse.data.readers.open import open_data

    began, busy = time.perf_counter(), time.process_time()
    data, held_out = (open_data(folder, side, split) for split in ("train", "test"))
    Normalise.measure(data)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return f"{seconds:.1f} s, {busy:.1f} s of one core; {len(data):,} + {len(held_out):,} rows; {memory()}"


def epoch(folder: Path, side: int) -> str:
    """Batches of 32, of every row once."""
    import torch

    from undiffuse.data.readers.open import open_data
    from undiffuse.train.batches import Batches

    data = open_data(folder, side)
    batches, steps = Batches(data, 32, 0, torch.device("cpu")), len(data) // 32
    began = time.perf_counter()
    for step in range(steps):
        batches(step)
    return f"{1e3 * (time.perf_counter() - began) / steps:.1f} ms a batch of 32; {memory()}"


def memory() -> str:
    """The most that this process held."""
    return f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB resident"


PARTS = {"decoding alone": decoding, "the first time": opening, "the second time": opening, "an epoch": epoch}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--count", type=int, default=20_000)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # in a process of its own
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part:
        print(PARTS[given.part](given.folder, given.side))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        draw(folder, given.count, given.side)
        size = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / 2**20
        print(f"{given.count:,} jpegs of {given.side} x {given.side}, {size:,.0f} MiB", flush=True)
        environment = os.environ | {"UNDIFFUSE_CACHE": str(Path(name) / "cache")}
        for part in PARTS:
            command = [sys.executable, "-m", "benchmarks.start_up_data", "--part", part, "--folder", str(folder)]
            said = subprocess.run(
                [*command, "--side", str(given.side)], env=environment, stdout=-1, text=True, check=False
            )
            print(f"  {part:16} {said.stdout.strip() or 'failed'}", flush=True)


if __name__ == "__main__":
    main()
