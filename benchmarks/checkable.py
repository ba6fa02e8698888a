"""What share of drawn texts is valid, by order and evaluations: python -m benchmarks.checkable [--only ...]

Trains the recipes `brackets`, `sudoku` (4 x 4, and 6 x 6 in --long) and `arithmetic`, some minutes of one core, and
draws from each in random order (`first-hitting`), where the draw is most confident (`most-confident-first`), and where
the belief is surest (`margin-first`), with an evaluation for each token and with fewer. Of sudokus it also completes
fresh ones of which a third of the digits is given: `solved`.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from undiffuse.data.synthetic.checkable.checkable import Checkable
from undiffuse.data.synthetic.checkable.sudoku import Sudoku
from undiffuse.evaluate.valid import share_valid
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run.given import Given
from undiffuse.run.run import Run
from undiffuse.train.loop import train

SAMPLERS = ("first-hitting", "most-confident-first", "margin-first")
FEWER = (1, 2, 4, 8)  # tokens an evaluation
CLUES = 1 / 3  # of the digits


def recipes() -> dict[str, Recipe]:
    """By name; the last is for --long."""
    named = {name: RECIPES[name]() for name in ("brackets", "arithmetic", "sudoku")}
    return named | {"sudoku-6": RECIPES["sudoku"]().override("data.side", "6").changed(steps=3_000)}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", nargs="*", default=["brackets", "arithmetic", "sudoku"])
    words.add_argument("--long", action="store_true", help="sudokus of 6 x 6 too")
    words.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of trainings")
    words.add_argument("--count", type=int, default=300, help="texts of each")
    options = words.parse_args()
    torch.set_num_threads(1)
    known = recipes()
    print(f"{'':28} {'':22}" + "".join(f"{f'{n} an evaluation':>20}" for n in FEWER), flush=True)
    for name in [*options.only, *(["sudoku-6"] if options.long else [])]:
        runs = list(trained(known[name], options.seeds))
        source = known[name].data
        assert isinstance(source, Checkable)
        for sampler in SAMPLERS:
            line(name, sampler, [drawn(run, source, sampler, options.count) for run in runs])
        if isinstance(source, Sudoku):
            for sampler in SAMPLERS:
                line(f"{name}, solved", sampler, [drawn(run, source, sampler, options.count, CLUES) for run in runs])


def trained(recipe: Recipe, seeds: list[int]) -> Iterator[Run]:
    """A run of each seed; none of them is kept on disk."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            yield train(recipe.override("training.seed", str(seed)), Path(folder) / "run", quiet=True)


def drawn(run: Run, source: Checkable, sampler: str, count: int, clues: float = 0.0) -> list[float]:
    """The share that is valid, for each number of evaluations."""
    given = puzzles(source, count, clues) if clues else None
    shares = []
    for fewer in FEWER:
        how = replace(run.sampling, sampler=sampler, steps=max(1, round(run.shape[0] / fewer)), seed=fewer)
        shares.append(share_valid(source, run.draw(count, None, how, given).x))
    return shares


def puzzles(source: Checkable, count: int, clues: float) -> Given:
    """Fresh texts of which a share of the digits is known, and the ends of lines."""
    x = source.open("test").x[:count].long()
    kept = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < clues
    return Given(x, kept | (x == 0))


def line(name: str, sampler: str, shares: list[list[float]]) -> None:
    """One line of the table: the mean over trainings, and their standard deviation."""
    cells = []
    for column in zip(*shares, strict=True):
        spread = f" ± {stdev(column):.1%}" if len(column) > 1 else ""
        cells.append(f"{f'{mean(column):.1%}{spread}':>20}")
    print(f"{name:28} {sampler:22}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
