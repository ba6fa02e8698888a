"""Does it draw the digit of its condition? python -m benchmarks.digits

Trains the recipe `digits` (8 x 8 pictures, class-conditional), then evaluates it: a classifier trained on the real
training digits, with its share right on held-out real digits, reads as many samples as there are held-out digits;
and how near samples come to training digits, beside how near held-out digits come.
"""

import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from undiffuse.kind import evaluate
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train


def main() -> None:
    torch.set_num_threads(2)
    recipe = RECIPES["digits"]()
    recipe = recipe.changed(report_every=recipe.training.steps + 1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = train(recipe, Path(folder) / "run", quiet=True)
        print(f"digits: {time.perf_counter() - start:.0f} s of training\n")
        Console(width=120).print(evaluate(run).table())


if __name__ == "__main__":
    main()
