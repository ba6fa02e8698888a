"""How near to the truth are trained bridges? python -m benchmarks.bridges [PART ...]

transport   the recipe `swiss-roll-to-moons`: the cost of its way, the mean squared distance from fresh points to where
            they land, over the least cost (POT, exact) between as many fresh points of each side, and between the same
            points and where they land; and the sliced Wasserstein distance from fresh moons over its floor. Both sides
            are standardised, as the bridge has them. All are means over lots of 5,000 points, 8 of each side: of one
            lot the least cost is off by 3%. It is also printed for lots of 625, since the least cost between few points
            is too high on average, and so a little too high between 5,000.
narrowing   why what lands there has less variance than moons have. By the sampler: at 20 steps and at 80. By the
            network: an exact flow has E x_t.(v - (x_1 - x_0)) = 0 at every t; where it is above, |x|^2 loses 2 dt times
            it on the way. As shares of the variance: its mean over nine times, the least and the largest.
gaussian    Markovian fitting between two standard Gaussians in the plane, sigma 1: means, variances and the covariance
            of both ends, against (sqrt 5 - 1)/2.
boots       the recipe `sneakers-to-boots`: the share of --count held-out sneakers that a classifier trained on
            Fashion-MNIST reads as boots once translated, beside that of real boots; their distance to their sources
            over that of random boots; and their variance over that of real ones, which is less where they are blurred.
eights      the recipe `threes-to-eights`: the same of held-out threes.
gray        the recipe `colour-to-gray`, paired: the root mean square error of gray pictures made of held-out
            photographs; the same between the gray of what comes back and what it was made of; and how far colours are
            from their gray, there and in photographs.
"""

import argparse
import math
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import ot
import torch
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.data.own import Files
from undiffuse.data.ready import Digits, WellKnown
from undiffuse.data.source import Between, Only
from undiffuse.loss.coupling import OptimalTransport, squared_distances
from undiffuse.loss.markovian import Markovian
from undiffuse.measure import sliced_wasserstein
from undiffuse.measure.judge import Judge
from undiffuse.net import MLP
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.recipes.bridges import bridge
from undiffuse.recipes.toys import toy
from undiffuse.run.folder import load
from undiffuse.run.run import Run
from undiffuse.run.translate import translate
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import train

COUNT, LOTS = 5_000, 8
FEWER = 10_240  # points of `narrowing`
JUDGE = 300  # steps of the training of the classifier


def trained(recipe: Recipe, seed: int, folder: str, asked: Namespace) -> Run:
    """The recipe's run, trained here, or the one that was trained before."""
    if asked.run:
        return load(asked.run)
    steps = asked.steps or recipe.training.steps
    quiet = recipe.changed(seed=seed, steps=steps, report_every=steps + 1)
    return train(quiet, Path(folder) / f"run {seed}", quiet=True)


def transport(seed: int, folder: str, asked: Namespace) -> dict[str, float]:
    run = trained(RECIPES["swiss-roll-to-moons"](), seed, folder, asked)
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


def narrowing(seed: int, folder: str, asked: Namespace) -> dict[str, float]:
    run = trained(RECIPES["swiss-roll-to-moons"](), seed, folder, asked)
    data = run.dataset("test")
    start, end = data.start.x[:FEWER], run.codec.encode(data.x[:FEWER])
    spread = float(end.var(0).sum())
    lands = {
        steps: run.codec.encode(translate(run, start, sampling=Sampling("heun", steps, "trailing")))
        for steps in (20, 80)
    }
    lost = [2 * excess(run, run.codec.of_start().encode(start), end, k / 10) / spread for k in range(1, 10)]
    return {
        f"variance / that of fresh points, {steps} steps": float(x.var(0).sum()) / spread for steps, x in lands.items()
    } | {
        "share of the variance that the network loses": fmean(lost),
        "the least at any time": min(lost),
        "the largest": max(lost),
    }


@torch.no_grad()
def excess(run: Run, x_1: Tensor, x_0: Tensor, t: float) -> float:
    """E x_t.(v - (x_1 - x_0)) over pairs of the recipe's batches."""
    found = []
    for end, rows in zip(x_0.split(run.recipe.training.batch), x_1.split(run.recipe.training.batch), strict=True):
        start = rows[OptimalTransport()(end, rows, SeededNoise(0))]
        x_t = (1 - t) * end + t * start
        found.append((x_t * (run.denoiser.velocity(x_t, t) - (start - end))).sum(1))
    return float(torch.cat(found).mean())


def least_cost(x: Tensor, y: Tensor) -> float:
    """Of carrying x onto y, as many rows each."""
    return float(ot.emd2([], [], squared_distances(x, y).double().numpy(), numItermax=10**7))


def lots(measure: Callable[[Tensor, Tensor], float], x: Tensor, y: Tensor, count: int = COUNT) -> float:
    """The mean over lots of so many rows."""
    return fmean(measure(*pair) for pair in zip(x.split(count), y.split(count), strict=True))


def gaussian(seed: int, folder: str, asked: Namespace) -> dict[str, float]:
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
    run = trained(recipe, seed, folder, asked)
    start = run.dataset("test").start.x
    end = translate(run, start, sampling=Sampling("bridge", 100))
    found = torch.cov(torch.cat([start, end], 1).T)
    return {
        "mean": float(end.mean(0).abs().max()),
        "variance": float(found.diag()[2:].mean()),
        "covariance / exact": float((found[0, 2] + found[1, 3]) / 2) / ((math.sqrt(5) - 1) / 2),
    }


def across(
    recipe: str, data: WellKnown | Digits, source: str, target: str, seed: int, folder: str, asked: Namespace
) -> dict[str, float]:
    """Rows of one label taken to another: how they are read, how near they stay, and whether they blur."""
    run = trained(RECIPES[recipe](), seed, folder, asked)
    train_, test = (data.open(split) for split in ("train", "test"))
    some = slice(asked.count)
    judge = Judge.train(train_.x, train_.labels, test.x[some], test.labels[some], steps=JUDGE, seed=seed)
    wanted = test.label_names.index(target)
    sources, real = (Only(data, name).open("test").x[some] for name in (source, target))
    made = translate(run, sources)
    of, to, others = (x.float().flatten(1) for x in (sources, made, real))
    random = others[torch.arange(len(of)) % len(others)]
    return {
        f"read as {target}": float((judge.predict(made) == wanted).float().mean()),
        f"real ones read as {target}": float((judge.predict(real) == wanted).float().mean()),
        "distance to source / of a random one": float((to - of).norm(dim=1).mean() / (random - of).norm(dim=1).mean()),
        "variance / that of real ones": float(to.var(0).sum() / others.var(0).sum()),
    }


def boots(seed: int, folder: str, asked: Namespace) -> dict[str, float]:
    return across("sneakers-to-boots", WellKnown("fashion-mnist"), "sneaker", "ankle boot", seed, folder, asked)


def eights(seed: int, folder: str, asked: Namespace) -> dict[str, float]:
    return across("threes-to-eights", Digits(), "3", "8", seed, folder, asked)


def gray(seed: int, folder: str, asked: Namespace) -> dict[str, float]:
    run = trained(RECIPES["colour-to-gray"](), seed, folder, asked)
    data = run.dataset("test")
    colour, plain = data.start.x[: asked.count], data.x[: asked.count]
    there, back = translate(run, colour), translate(run, plain, back=True)
    return {
        "gray there, of 255": rms(there, plain),
        "of any other photograph": rms(plain.roll(1, 0), plain),
        "gray of what comes back, of 255": rms(back.float().mean(1, keepdim=True).expand_as(plain), plain),
        "colourfulness of what comes back / of photographs": colourfulness(back) / colourfulness(colour),
    }


def rms(x: Tensor, y: Tensor) -> float:
    """The root mean square difference of pictures."""
    return float((x.float() - y.float()).square().mean().sqrt())


def colourfulness(x: Tensor) -> float:
    """The root mean square difference of pictures (count, 3, height, width) from their gray."""
    return rms(x, x.float().mean(1, keepdim=True).expand_as(x))


PARTS: dict[str, Callable[[int, str, Namespace], dict[str, float]]] = {
    part.__name__: part for part in (transport, narrowing, gaussian, boots, eights, gray)
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--steps", type=int, help="of training, in place of the recipe's")
    words.add_argument("--run", help="a trained run of the one PART, instead of training")
    words.add_argument("--count", type=int, default=1_000, help="sneakers")
    options = words.parse_args()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            runs = [PARTS[part](seed, folder, options) for seed in range(options.seeds)]
        for name in runs[0]:
            values = [run[name] for run in runs]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            print(f"{part}: {name} {fmean(values):.3f}{spread} ({len(values)} seeds)", flush=True)


if __name__ == "__main__":
    main()
