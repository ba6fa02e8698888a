"""Are the letters read as their labels, and do they vary? python -m benchmarks.letters [--only letters]

Trains the recipes `letters` and `letters-post` (the founding post's, its mistakes mended) on one thread each, or takes
runs (--run FOLDER), and prints for as many samples as there are held-out letters, with the same labels: the share
that a classifier reads as their label, beside its share on the held-out letters, whose writers nobody trained on; and
how much of the held-out letters' variety they cover, beside what as many training letters, undeformed, cover.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from undiffuse.core.files import write_atomically
from undiffuse.data.readers.letters import letters
from undiffuse.kind.write import lines, pages
from undiffuse.measure.judge import Judge
from undiffuse.measure.manifold import manifold
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import load
from undiffuse.run.run import Run
from undiffuse.train.loop import train

TEXT = "HELLO WORLD\nhow are you"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--only", nargs="*", default=["letters", "letters-post"])
    words.add_argument("--run", nargs="*", help="runs to measure, instead of training")
    words.add_argument("--out", help="a folder for pictures")
    words.add_argument("--threads", type=int, default=1)
    options = words.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = [load(path) for path in options.run] if options.run else _trained(options.only, Path(folder))
        _measure(runs, Path(options.out) if options.out else None)


def _trained(names: list[str], folder: Path) -> list[Run]:
    found = []
    for name in names:
        recipe = RECIPES[name]()
        found.append(train(recipe.changed(report_every=recipe.training.steps), folder / name, quiet=True))
    return found


def _measure(runs: list[Run], out: Path | None) -> None:
    real, held_out, undeformed = letters(), letters(split="test"), letters(copies=1)
    judge = Judge.train(real.x, real.labels, held_out.x, held_out.labels)
    seen = judge.features(held_out.x)
    chosen = torch.randperm(len(undeformed), generator=torch.Generator().manual_seed(0))[: len(held_out)]
    floor = manifold(judge.features(undeformed.x[chosen]), seen)
    print(f"{len(held_out)} letters each; the judge is {judge.accuracy:.1%} right on held-out ones")
    print(f"{'':14} {'accuracy':>9} {'coverage':>9} {'of floor':>9} {'precision':>9} {'recall':>7} {'seconds':>8}")
    print(
        f"{'real letters':14} {judge.accuracy:9.1%} {floor.coverage:9.3f} {1:9.2f} {floor.precision:9.3f} "
        f"{floor.recall:7.3f}"
    )
    for run in runs:
        x = run.sample(len(held_out), label=held_out.labels)
        right = float(torch.eq(judge.predict(x), held_out.labels).double().mean())
        made = manifold(judge.features(x), seen)
        ratio = made.coverage / floor.coverage
        print(
            f"{run.folder.name:14} {right:9.1%} {made.coverage:9.3f} {ratio:9.2f} {made.precision:9.3f} "
            f"{made.recall:7.3f} {_seconds(run):8.0f}"
        )
        if out:
            out.mkdir(parents=True, exist_ok=True)
            *_, last = pages(run, lines(TEXT), replace(run.sampling, seed=1))
            write_atomically(out / f"{run.folder.name}.png", last.image.save)


def _seconds(run: Run) -> float:
    """Of training: the denoiser's, and the codec's."""
    states = sorted((run.folder / "codec" / "state").glob("*.json"))
    codec = json.loads(states[-1].read_text())["facts"]["seconds"] if states else 0.0
    return run.seconds + codec


if __name__ == "__main__":
    main()
