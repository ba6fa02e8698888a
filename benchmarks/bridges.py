"""How near to the truth are trained bridges? python -m benchmarks.bridges [transport] [gaussian] [boots]

transport   the recipe `swiss-roll-to-moons`: the cost of its way, the mean squared distance from fresh points to where
            they land, over the least cost (POT, exact) between as many fresh points of each side, and between the same
            points and where they land; and the sliced Wasserstein distance from fresh moons over its floor. Both sides
            are standardised, as the bridge has them. All are means over lots of 5,000 points, 8 of each side: of one
            lot the least cost is off by 3%. It is also printed for lots of 625, since the least cost between few points
            is too high on average, and so a little too high between 5,000.
gaussian    Markovian fitting between two standard Gaussians in the plane, sigma 1: means, variances and the covariance
            of both ends, against (sqrt 5 - 1)/2.
boots       the recipe `sneakers-to-boots`: the share of held-out sneakers that a classifier trained on Fashion-MNIST
            reads as boots once translated, and their distance to their sources over that of random boots.
"""

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import ot
import torch
from torch import Tensor

from undiffuse.data.source import Between, Files, Only, WellKnown
from undiffuse.loss.coupling import squared_distances
from undiffuse.loss.markovian import Markovian
from undiffuse.measure import sliced_wasserstein
from undiffuse.measure.judge import Judge
from undiffuse.net import MLP
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.recipes.bridges import bridge
from undiffuse.recipes.toys import toy
from undiffuse.run.run import Run
from undiffuse.run.translate import translate
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import train

COUNT, LOTS = 5_000, 8


def trained(recipe: Recipe, seed: int, folder: str, steps: int | None) -> Run:
    steps = steps or recipe.training.steps
    quiet = recipe.changed(seed=seed, steps=steps, report_every=steps + 1)
    return train(quiet, Path(folder) / f"run {seed}", quiet=True)


def transport(seed: int, folder: str, steps: int | None) -> dict[str, float]:
    run = trained(RECIPES["swiss-roll-to-moons"](), seed, folder, steps)
    data = run.dataset("test")
    start, end, others = data.start.x[: LOTS * COUNT], data.x[: LOTS * COUNT], data.x[LOTS * COUNT : 2 * LOTS * COUNT]
    there = translate(run, start)
    a, b, fresh = run.codec.of_start().encode(start), run.codec.encode(there), run.codec.encode(end)
    again = run.codec.of_start().encode(translate(run, there[:COUNT], back=True))
    cost, least = float((a - b).square().sum(1).mean()), lots(least_cost, a, fresh)
    return {
        "cost / least cost": cost / least,
        "cost / least cost to where it lands": cost / lots(least_cost, a, b),
        "variance / that of fresh points": float(b.var(0).sum() / fresh.var(0).sum()),
        "least cost of lots of 625 / of 5,000": lots(least_cost, a, fresh, COUNT // 8) / least,
        "sliced Wasserstein / floor": lots(sliced_wasserstein, there, others) / lots(sliced_wasserstein, end, others),
        "round trip, standard deviations": float((again - a[:COUNT]).norm(dim=1).mean()),
    }


def least_cost(x: Tensor, y: Tensor) -> float:
    """Of carrying x onto y, as many rows each."""
    return float(ot.emd2([], [], squared_distances(x, y).double().numpy(), numItermax=10**7))


def lots(measure: Callable[[Tensor, Tensor], float], x: Tensor, y: Tensor, count: int = COUNT) -> float:
    """The mean over lots of so many rows."""
    return fmean(measure(*pair) for pair in zip(x.split(count), y.split(count), strict=True))


def gaussian(seed: int, folder: str, steps: int | None) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    for name in ("a", "b"):
        np.save(Path(folder) / f"{name}.npy", rng.normal(size=(50_000, 2)).astype(np.float32))
    ends = Between(*(Files(str(Path(folder) / f"{name}.npy")) for name in ("a", "b")))
    recipe = bridge(toy("moons"), toy("moons"), "schroedinger").changed(
        data=ends,
        net=MLP(width=32, depth=2, waves=0),
        sigma=1.0,
        loss=Markovian(rounds=4),
        steps=2_400,
        batch=512,
        lr=1e-3,
    )
    run = trained(recipe, seed, folder, steps)
    start = run.dataset("test").start.x
    end = translate(run, start, sampling=Sampling("bridge", 100))
    found = torch.cov(torch.cat([start, end], 1).T)
    return {
        "mean": float(end.mean(0).abs().max()),
        "variance": float(found.diag()[2:].mean()),
        "covariance / exact": float((found[0, 2] + found[1, 3]) / 2) / ((math.sqrt(5) - 1) / 2),
    }


def boots(seed: int, folder: str, steps: int | None) -> dict[str, float]:
    run = trained(RECIPES["sneakers-to-boots"](), seed, folder, steps)
    train_, test = (WellKnown("fashion-mnist").open(split) for split in ("train", "test"))
    judge = Judge.train(train_.x, train_.labels, test.x, test.labels, seed=seed)
    wanted = test.label_names.index("ankle boot")
    sources = Only(WellKnown("fashion-mnist"), "sneaker").open("test").x
    others = Only(WellKnown("fashion-mnist"), "ankle boot").open("test").x[: len(sources)]
    there = translate(run, sources)
    near = (there.float() - sources.float()).flatten(1).norm(dim=1).mean()
    return {
        "read as boots": float((judge.predict(there) == wanted).float().mean()),
        "distance to source / of a random boot": float(
            near / (others.float() - sources.float()).flatten(1).norm(dim=1).mean()
        ),
    }


PARTS: dict[str, Callable[[int, str, int | None], dict[str, float]]] = {
    part.__name__: part for part in (transport, gaussian, boots)
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--steps", type=int, help="of training, in place of the recipe's")
    options = words.parse_args()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            runs = [PARTS[part](seed, folder, options.steps) for seed in range(options.seeds)]
        for name in runs[0]:
            values = [run[name] for run in runs]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            print(f"{part}: {name} {fmean(values):.3f}{spread} ({len(values)} seeds)", flush=True)


if __name__ == "__main__":
    main()
