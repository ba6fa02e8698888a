"""How soon is a swiss roll good? python -m benchmarks.swiss_roll

Sliced Wasserstein distance between 10,000 samples, made with 20 network evaluations, and 10,000 fresh points, over
its floor (two fresh draws), against seconds of training on 2 threads. Beside it, smalldiffusion's published swiss
roll example: its MLP (16, 128, 128, 128, 128, 16) with GELU, its log-linear schedule (200 levels, .005 to 10),
AdamW at 1e-3, batches of 2048, 20 steps of its sampler with gamma = 2, timed by its own training loop without
progress bar or measures. Both learn the same points, drawn from the thin spiral that its example calls a swiss
roll.

1. Ours on our own swiss roll (the recipe `swiss-roll`): the quality that the README quotes.
2. Ours and smalldiffusion on its spiral: how much sooner we reach what it reaches in 30 and in 60 seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import peers
from undiffuse.data.synthetic.toys import toy
from undiffuse.measure import sliced_wasserstein
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train

COUNT = 10_000
LEARN_ALONE = (1.0, 0.5, 0.25, 0.125, 0.0625)  # shares of the recipe's steps, each a training of its own


def floor_of(fresh: Callable[[int], Tensor]) -> float:
    """The median distance between two fresh draws of 10,000 points."""
    return float(torch.tensor([sliced_wasserstein(fresh(2 * k), fresh(2 * k + 1)) for k in range(7)]).median())


def ours(name: str, share: float, draws: int = 1, seed: int = 0) -> tuple[float, list[Tensor]]:
    """(seconds of training, ``draws`` sets of samples) of the recipe, with this share of its steps."""
    recipe = RECIPES[name]()
    steps = max(50, round(recipe.training.steps * share))
    recipe = recipe.changed(steps=steps, save_every=steps, report_every=steps + 1, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = train(recipe, Path(folder) / "run", quiet=True)
        seconds = time.perf_counter() - start
        return seconds, [run.sample(COUNT, steps=20, seed=1 + k) for k in range(draws)]


def smalldiffusion(points: Tensor, budgets: list[float], seed: int = 0) -> dict[float, Tensor]:
    """Samples after each budget of seconds of its training loop (its clock stops while it samples)."""
    library = peers.smalldiffusion()
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    torch.manual_seed(seed)
    accelerator = Accelerator()
    model = library.TimeInputMLP(hidden_dims=(16, 128, 128, 128, 128, 16))
    schedule = library.ScheduleLogLinear(N=200, sigma_min=0.005, sigma_max=10)
    loader = DataLoader(points, batch_size=2048)
    library.diffusion.tqdm = Quiet
    made, spent, left = {}, 0.0, list(budgets)
    start = time.perf_counter()
    for _ in library.training_loop(loader, model, schedule, accelerator, epochs=10**9, lr=1e-3):
        if spent + time.perf_counter() - start >= left[0]:
            spent += time.perf_counter() - start
            *_, x = library.samples(model, schedule.sample_sigmas(20), gam=2, batchsize=COUNT, accelerator=accelerator)
            made[left.pop(0)] = x.detach()
            if not left:
                return made
            start = time.perf_counter()
    return made


class Quiet:
    """A loop without a progress bar."""

    def __init__(self, loop: object) -> None:
        self.loop = loop

    def __iter__(self) -> object:
        return iter(self.loop)

    def set_description(self, *_: object) -> None:
        """Says nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=float, nargs="+", default=[30.0, 60.0], help="seconds for smalldiffusion")
    arguments = parser.parse_args()
    torch.set_num_threads(2)

    def roll(seed: int) -> Tensor:
        return toy("swiss-roll", COUNT, seed=100 + seed, split="test").x

    def spiral(seed: int) -> Tensor:
        return toy("spiral", COUNT, seed=100 + seed, split="test").x

    ours("swiss-roll", 0.001)  # imports and warm-up are not training
    seconds, draws = ours("swiss-roll", 1.0, draws=7)
    floor = floor_of(roll)
    distances = torch.tensor([sliced_wasserstein(samples, roll(50 + k)) for k, samples in enumerate(draws)])
    distance, low, high = (float(x) for x in (distances.median(), distances.min(), distances.max()))
    ratio = f"{distance / floor:.2f} x floor ({low / floor:.2f} to {high / floor:.2f} over 7 draws)"
    print(f"swiss-roll: {distance:.4f} = {ratio} after {seconds:.1f} s of training\n", flush=True)

    floor, fresh = floor_of(spiral), spiral(50)
    theirs = smalldiffusion(toy("spiral", 2048 * 8, seed=0).x, arguments.budgets)
    goals = {budget: sliced_wasserstein(x, fresh) for budget, x in theirs.items()}
    for budget, goal in goals.items():
        print(f"smalldiffusion, spiral: {goal / floor:5.2f} x floor after {budget:5.1f} s")
    reached: dict[float, float] = {}
    for share in LEARN_ALONE:
        seconds, [samples] = ours("spiral", share)
        distance = sliced_wasserstein(samples, fresh)
        print(f"undiffuse,      spiral: {distance / floor:5.2f} x floor after {seconds:5.1f} s")
        reached |= {budget: seconds for budget, goal in goals.items() if distance <= goal}
    for budget in goals:
        if budget in reached:
            ratio = budget / reached[budget]
            print(f"what takes smalldiffusion {budget:.0f} s takes {reached[budget]:.1f} s: {ratio:.1f} x faster")
        else:
            print(f"what takes smalldiffusion {budget:.0f} s was not reached")


if __name__ == "__main__":
    main()
