"""Do pictures show what their captions say? python -m benchmarks.shapes [--run RUN] [--minutes 20] [--only checker ...]

checker    the checker on real pictures, with their own captions and with those of others: at 64, 32 and 16 pixels
guidance   a run of the recipe: facts and captions right, unseen captions and new combinations, by guidance scale
labels     the recipe's network, told labels instead of words: the ceiling; trained for --minutes
readers    the recipe, its captions read by a lookup, by transformers of other depths, and by MiniLM, where installed
joint      a DiT of cross-attention beside one of joint attention, at equal width and depth

Without --run the recipe is trained first. Each training takes --minutes of processor time. A share is of --count
samples of 20 evaluations; ± is its standard error, sqrt(p (1 - p) / count), of the samples alone: one training each,
unless there are several --seeds, each of which is a line.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

import undiffuse
from undiffuse.condition.text import Frozen, Lookup, Transformer
from undiffuse.data.source import Shapes
from undiffuse.data.synthetic.shapes.checker import check
from undiffuse.draw.pictures import pictures
from undiffuse.evaluate.asked import chosen
from undiffuse.net import DiT
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes.shapes import shapes
from undiffuse.run.run import Run
from undiffuse.train.loop import train
from undiffuse.train.trainer import Trainer

READERS = {"lookup": Lookup(), "1 block": Transformer(1), "2 blocks": Transformer(2), "minilm": Frozen("minilm")}
GROUPS = ("checker", "guidance", "labels", "readers", "joint")


def main() -> None:
    """Parse, train, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run of the recipe; else it is trained")
    parser.add_argument("--minutes", type=float, default=20.0, help="of processor time, for each training")
    parser.add_argument("--count", type=int, default=500, help="samples of each set of questions, for each line")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument("--guidance", nargs="+", type=float, default=[1.0, 1.5, 2.0, 3.0, 4.5, 6.0], metavar="W")
    parser.add_argument("--only", nargs="+", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--out", type=Path, default=Path("runs/shapes-study"), help="for runs and sheets")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    if "checker" in options.only:
        checker(options.count)
    print(f"{'':28} {'steps':>6}  facts, captions right: unseen captions  new combinations", flush=True)
    for name, recipe in recipes(options.only).items():
        for seed in range(options.seeds):
            folder = options.out / f"{name.replace(' ', '-')}-{seed}"
            given = options.run if name == "recipe" and seed == 0 else None
            run = undiffuse.load(given) if given else trained(recipe.changed(seed=seed), folder, options.minutes)
            for weight in options.guidance if name == "recipe" else (run.sampling.guidance.weight or 1.0,):
                line(f"{name}, guidance {weight:g}", run, weight, options.count, options.out)


def recipes(groups: list[str]) -> dict[str, Recipe]:
    """What is trained, by name."""
    recipe, found = shapes(), {}
    if "guidance" in groups:
        found["recipe"] = recipe
    if "labels" in groups:
        found["told labels"] = recipe.changed(data=Shapes(told="labels"))
    if "readers" in groups:
        found |= {f"read by {name}": recipe.changed(data=Shapes(text=text)) for name, text in READERS.items()}
    if "joint" in groups:
        small = DiT(patch=4, width=128, depth=6, heads=4)
        found |= {"dit, cross": recipe.changed(net=small)}
        found |= {"dit, joint": recipe.changed(net=DiT(patch=4, width=128, depth=6, heads=4, words="joint"))}
    return found


def checker(count: int) -> None:
    """The checker's own errors, and what pictures of other captions get."""
    for size in (64, 32, 16):
        for name, question in Shapes(count=2, size=size).questions().sets.items():
            some = chosen(question, count, seed=0)
            own = shares(check(some.x, some.captions), count)
            others = shares(check(some.x, some.captions[1:] + some.captions[:1]), count)
            print(f"{size} pixels, {name}: own captions {own}, those of others {others}", flush=True)


def trained(recipe: Recipe, folder: Path, minutes: float) -> Run:
    """A run of as many steps as fit the processor time, at the pace of its first ten (after three to warm up)."""
    trial = Trainer(recipe, recipe.changed(count=500).data.open(), Accelerator())
    for _ in range(3):
        trial.step()
    start = time.process_time()
    for _ in range(10):
        trial.step()
    steps = max(1, round(60 * minutes * 10 / (time.process_time() - start)))
    return train(recipe.changed(steps=steps, save_every=steps, report_every=steps + 1), folder, quiet=True)


def line(name: str, run: Run, weight: float, count: int, out: Path) -> None:
    """Sample, read, print a line, and save a sheet."""
    found = []
    for part, question in run.recipe.data.questions().sets.items():
        some = chosen(question, count, seed=1)
        x = run.sample(len(some.x), some.conditions, guidance=weight, seed=1)
        found.append(shares(check(x, some.captions), len(x)))
        sheet = pictures(x[:24], captions=some.captions[:24], columns=8)
        sheet.save(out / f"{name}-{part}.png".replace(" ", "-").replace(",", ""))
    print(f"{name:28} {run.step:>6}  {'   '.join(found)}", flush=True)


def shares(found: list[list[tuple[str, bool]]], count: int) -> str:
    """Facts and captions right, in per cent, with the standard error of captions."""
    facts = Tensor([holds for one in found for _, holds in one]).mean()
    right = float(Tensor([all(holds for _, holds in one) for one in found]).mean())
    return f"{100 * facts:.1f}%, {100 * right:.1f} ± {100 * math.sqrt(right * (1 - right) / count):.1f}%"


if __name__ == "__main__":
    main()
