"""Do pictures show what their captions say? python -m benchmarks.shapes [--run RUN] [--minutes 20] [--only checker ...]

checker    the checker on real pictures, with their own captions and with those of others: at 64, 32 and 16 pixels
guidance   a run of the recipe: facts and captions right, unseen captions and new combinations, by guidance scale; drawn
           to OUT/guidance.png if there are several; and of which sort the facts are that it gets right
labels     the recipe's network, told labels instead of words: the ceiling; trained for --minutes
readers    the recipe, its captions read by a lookup, by transformers of other depths, and by MiniLM, where installed
joint      a DiT of cross-attention beside one of joint attention, at equal width and depth

Without --run the recipe is trained first. Each training takes --minutes of processor time. A share is of --count
samples of 20 evaluations; ± is its standard error, sqrt(p (1 - p) / count), of the samples alone: one training each,
unless there are several --seeds, each of which is a line. Guidance is chosen on the one set of questions, unseen
captions, and holds for both.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from accelerate import Accelerator

import undiffuse
from undiffuse.condition.text import Frozen, Lookup, Transformer
from undiffuse.data.ready import Shapes
from undiffuse.data.synthetic.shapes.checker import check
from undiffuse.data.synthetic.shapes.facts import Fact
from undiffuse.draw.pictures import pictures
from undiffuse.draw.style import QUIET, colours, name_ends, panels, save, styled
from undiffuse.evaluate.asked import chosen, shares
from undiffuse.net import DiT
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes.shapes import shapes
from undiffuse.run.run import Run
from undiffuse.train.loop import train
from undiffuse.train.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READERS = {"lookup": Lookup(), "1 block": Transformer(1), "2 blocks": Transformer(2), "minilm": Frozen("minilm")}
GROUPS = ("checker", "guidance", "labels", "readers", "joint")
AIMS = (90, 75)  # per cent of the facts and of the captions of unseen captions
Right = dict[str, "Share"]  # by the name of a set of questions


class Share(NamedTuple):
    """What is right of some samples, in per cent; the error is that of the captions."""

    facts: float
    captions: float
    error: float

    def __str__(self) -> str:
        return f"{self.facts:5.1f}%, {self.captions:5.1f} ± {self.error:.1f}%"

    @classmethod
    def of(cls, found: list[list[Fact]]) -> "Share":
        """Of the facts that were read from so many samples."""
        facts, captions = shares(found)
        return cls(100 * facts, 100 * captions, 100 * math.sqrt(captions * (1 - captions) / len(found)))


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
            own = run.sampling.guidance.weight or 1.0
            weights = options.guidance if name == "recipe" else [own]
            found = {weight: line(name, run, weight, options.count, options.out) for weight in weights}
            if name == "recipe" and seed == 0 and len(found) > 1:
                save(curve(dict(sorted(found.items()))), options.out / "guidance.png")


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
            own = Share.of(check(some.x, some.captions))
            others = Share.of(check(some.x, some.captions[1:] + some.captions[:1]))
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


def line(name: str, run: Run, weight: float, count: int, out: Path) -> Right:
    """Sample, read, print a line and, below it, the sorts of facts; and save a sheet."""
    right, sorts = {}, []
    for part, question in run.recipe.data.questions().sets.items():
        some = chosen(question, count, seed=1)
        x = run.sample(len(some.x), some.conditions, guidance=weight, seed=1)
        found = check(x, some.captions)
        right[part] = Share.of(found)
        sorts.append(f"  {part}: {by_sort(found)}")
        sheet = pictures(x[:24], captions=some.captions[:24], columns=8)
        sheet.save(out / f"{name}-{weight:g}-{part}.png".replace(" ", "-").replace(",", ""))
    print(f"{f'{name}, guidance {weight:g}':28} {run.step:>6}  {'   '.join(map(str, right.values()))}")
    print("\n".join(sorts), flush=True)
    return right


def by_sort(found: list[list[Fact]]) -> str:
    """The share of each sort of facts that holds, the most frequent sort first."""
    sorts: dict[str, list[bool]] = {}
    for fact in (fact for one in found for fact in one):
        sorts.setdefault(fact.sort, []).append(fact.holds)
    ordered = sorted(sorts.items(), key=lambda one: -len(one[1]))
    return ", ".join(f"{sort} {100 * sum(held) / len(held):.0f}% of {len(held)}" for sort, held in ordered)


@styled
def curve(found: dict[float, Right]) -> "Figure":
    """Facts and captions right by guidance scale, a curve for each set of questions; dashed is the aim."""
    figure, every = panels(2, size=(4.6, 3.2))
    weights, sets = list(found), list(next(iter(found.values())))
    inks = colours(len(sets))
    for k, (axes, title, aim) in enumerate(zip(every, ("facts right", "captions wholly right"), AIMS, strict=True)):
        curves: Sequence[list[float]] = [[right[name][k] for right in found.values()] for name in sets]
        errors = [[right[name].error if k else 0.0 for right in found.values()] for name in sets]
        for ink, shown, error in zip(inks, curves, errors, strict=True):
            axes.errorbar(weights, shown, error, color=ink, marker="o", markersize=4, elinewidth=1, capsize=2.5)
        axes.axhline(aim, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set(xlabel="guidance scale", ylabel="%", ylim=(0, 100), title=title)
        figure.draw_without_rendering()
        name_ends(axes, sets, [(weights[-1], shown[-1]) for shown in curves], inks)
    return figure


if __name__ == "__main__":
    main()
