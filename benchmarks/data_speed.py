"""Are pictures ever waited for? python -m benchmarks.data_speed [--count 500] [--size 64]

Pictures of 256 x 256 are made in a temporary folder, half JPEG, half PNG, and read in turn: ours decodes, scales with
antialiasing and crops on threads; plain Pillow does so one by one in a loop, as a first script would; `datasets`
decodes and Pillow scales. Then what a step of training asks of the data, its batch and its mirrored pictures, beside
the whole step of the recipe that `undiffuse train FOLDER` chooses. Medians, with the range from the first to the third
quartile; repetitions are interleaved, so that whatever else the machine does meets all alike.
"""

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from benchmarks.throughput import measure
from undiffuse.core.noise import Stream
from undiffuse.data.readers.pictures import pictures
from undiffuse.recipes import own_data
from undiffuse.train.objective import mirrored
from undiffuse.train.trainer import Trainer

SIDE = 256


def draw(folder: Path, count: int) -> list[Path]:
    """Blurred noise of many scales, with grain: neither flat nor incompressible, as photographs are."""
    dice, paths = np.random.default_rng(0), []
    for k in range(count):
        values = dice.normal(128, 4, (SIDE, SIDE, 3))
        for cells in (4, 16, 64):
            coarse = Image.fromarray(dice.integers(0, 256, (cells, cells, 3), np.uint8))
            values += (np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), float) - 128) * 2 / cells**0.5
        paths.append(folder / f"{k:05d}.{('jpg', 'png')[k % 2]}")
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def ours(folder: Path, paths: list[Path], size: int) -> torch.Tensor:
    os.utime(paths[0])  # as if it were another file: what was decoded before does not count
    return pictures(folder, size).x


def pillow(paths: list[Path], size: int) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.open(p).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)) for p in paths]
    )


def hugging_face(paths: list[Path], size: int) -> np.ndarray:
    import datasets

    rows = datasets.Dataset.from_dict({"image": [str(path) for path in paths]}).cast_column("image", datasets.Image())
    return np.stack(
        [np.asarray(row["image"].convert("RGB").resize((size, size), Image.Resampling.LANCZOS)) for row in rows]
    )


def spread(seconds: list[float], count: int) -> str:
    """Pieces a second, in words."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return f"{count / middle:10.0f} ({count / high:.0f} to {count / low:.0f})"


def reading(folder: Path, paths: list[Path], size: int, rounds: int) -> float:
    """Print how fast pictures are read; the seconds that ours takes for all."""
    readers = {
        "undiffuse": lambda: ours(folder, paths, size),
        "Pillow, a loop": lambda: pillow(paths, size),
        "datasets": lambda: hugging_face(paths, size),
    }
    seconds = measure(list(readers.values()), rounds, "cpu")
    print(f"decoded and scaled to {size} x {size}, pictures a second (quartiles), on {os.cpu_count()} cores")
    for name, times in zip(readers, seconds, strict=True):
        print(f"  {name:18}{spread(times, len(paths))}")
    return statistics.median(seconds[0])


def training(folder: Path, size: int, rounds: int, decoding: float) -> None:
    """Print how much of a step goes to its data."""
    recipe = own_data(folder).changed(flip=True)
    recipe = recipe.changed(data=replace(recipe.data, size=size))  # type: ignore[type-var]
    data = recipe.data.open()
    trainer = Trainer(recipe, data, Accelerator())
    x, _ = trainer.batches(0)
    noise, step = Stream(), iter(range(10**9))
    tasks = {
        "a batch": lambda: trainer.batches(next(step)),
        "its mirroring": lambda: mirrored(x, noise),
        "a whole step": trainer.step,
    }
    seconds = dict(zip(tasks, measure(list(tasks.values()), rounds, trainer.device.type), strict=True))
    whole = statistics.median(seconds["a whole step"])
    print(
        f"\n{recipe.training.batch} pictures {tuple(data.shape)} on {trainer.device.type}: "
        "a second (quartiles), ms, of a step"
    )
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"  {name:18}{spread(times, recipe.training.batch)}  {1e3 * middle:9.3f}  {middle / whole:8.3%}")
    share = decoding / (decoding + recipe.training.steps * whole)
    print(f"\nreading them all, once, is {share:.3%} of {recipe.training.steps:,} steps")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--size", type=int, default=64, help="pixels a side, after scaling")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = draw(folder, given.count)
        print(f"{len(paths)} pictures of {SIDE} x {SIDE}, {sum(p.stat().st_size for p in paths) / 2**20:.0f} MiB")
        decoding = reading(folder, paths, given.size, given.rounds)
        training(folder, given.size, given.rounds, decoding)


if __name__ == "__main__":
    main()
