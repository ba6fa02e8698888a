"""Why do generators fail at keyboards? python -m benchmarks.piano [--minutes 4] [--only NAME ...] [--run RUN]

Keyboards are drawn (`undiffuse.data.synthetic.piano`), networks are trained on them, each for the same time, and every
sample is read by the exact checker (`undiffuse.data.synthetic.keyboard`): the share that are keyboards, the share that
are and begin with the key that is their condition, and what is wrong with the others. Shares are of --count samples at
20 evaluations unless the line says otherwise; ± is one standard error, sqrt(p (1 - p) / count), of the samples alone:
one training each.

networks   the recipe's, and what it is with one thing changed, each trained for --minutes
sampling   guidance, steps and samplers, of the recipe's network; --run takes one that is trained

--only takes names of lines, or of these two groups. Sheets of samples, captioned by what is wrong with them, go to
--out, with the runs.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

import undiffuse
from undiffuse.data.ready import Piano
from undiffuse.data.synthetic.keyboard import Fault, Reading, read
from undiffuse.denoiser.prediction import Eps, Velocity
from undiffuse.draw.pictures import pictures
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogitNormal
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.process import Flow
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes.piano import piano
from undiffuse.run.run import Run
from undiffuse.train.loop import train
from undiffuse.train.trainer import Trainer


def folded(patch: tuple[int, int] | None = None, waves: int | None = None, **changes: Any) -> SpaceToDepth:
    """The recipe's network, changed."""
    net = piano().model.net
    assert isinstance(net, SpaceToDepth)
    return SpaceToDepth(replace(net.inner, **changes), patch or net.patch, net.waves if waves is None else waves)


NETWORKS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no attention": {"net": folded(attention=0)},
    "told no place": {"net": folded(waves=0)},
    "one block a level": {"net": folded(blocks=1)},
    "half as wide": {"net": folded(width=32)},
    "folded by 2 x 2": {"net": folded((2, 2))},
    "folded by 24 x 2": {"net": folded((24, 2))},
    "not folded": {"net": UNet(width=32, multiples=(1, 2, 2))},
    "times not noisier": {"loss": Denoising(LogitNormal())},
    "eps": {"prediction": Eps()},
    "flow": {"prediction": Velocity(), "schedule": Flow()},
    "16 x 64 pixels": {"data": Piano(size=(16, 64))},
}
SAMPLING: dict[str, dict[str, Any]] = (
    {f"guidance {weight:g}": {"guidance": weight} for weight in (1.0, 1.5, 2.0, 3.0)}
    | {f"{steps} steps": {"steps": steps} for steps in (5, 10, 20, 50)}
    | {name: {"sampler": name} for name in ("ddpm", "gradient-estimation", "dpm++2m")}
    | {"heun": {"sampler": "heun", "steps": 10}}
)


def main() -> None:
    """Parse, train, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="of processor time, for each network")
    parser.add_argument("--count", type=int, default=1000, help="samples for each line")
    parser.add_argument("--only", nargs="+", default=["networks", "sampling"], metavar="NAME")
    parser.add_argument("--run", help="a run of the recipe, for what is measured of sampling")
    parser.add_argument("--out", type=Path, default=Path("runs/piano-study"), help="for runs and sheets")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    groups = {"networks": NETWORKS, "sampling": SAMPLING}
    unknown = [name for name in options.only if name not in {*groups, *NETWORKS, *SAMPLING}]
    if unknown:
        parser.error(f"--only {unknown[0]!r}: choose from {', '.join([*groups, *NETWORKS, *SAMPLING])}")

    networks, sampling = (
        [name for name in known if group in options.only or name in options.only] for group, known in groups.items()
    )
    print(f"{'':24} {'steps':>6} {'valid':>13} {'right key':>13}   what is wrong with the others", flush=True)
    line("real pictures", None, read(piano().data.open("test").x[: options.count]), None)
    for name in networks:
        run = trained(replace(piano(), **NETWORKS[name]), options.out / slug(name), options.minutes)
        measure(name, run, options.count, options.out)
    if sampling:
        where = options.run or options.out / slug("the recipe")
        run = undiffuse.load(where) if Path(where).exists() else trained(piano(), Path(where), options.minutes)
        for name in sampling:
            measure(name, run, options.count, options.out, **SAMPLING[name])


def trained(recipe: Recipe, folder: Path, minutes: float) -> Run:
    """A run of as many steps as fit the processor time, at the pace of its first thirty (after five to warm up)."""
    trial = Trainer(recipe, recipe.data.open(), Accelerator())
    for _ in range(5):
        trial.step()
    start = time.process_time()
    for _ in range(30):
        trial.step()
    steps = round(60 * minutes * 30 / (time.process_time() - start))
    return train(recipe.changed(steps=steps, save_every=steps, report_every=steps + 1), folder, quiet=True)


def measure(name: str, run: Run, count: int, out: Path, **how: Any) -> None:
    """Sample, read, print a line, and save a sheet."""
    x = run.sample(count, **how)
    found = read(x)
    line(name, run.step, found, run.labels(count))
    captions = [Fault(k).name.lower() if k else "" for k in found.fault[:32].tolist()]
    pictures(x[:32], captions=captions, columns=4).save(out / f"{slug(name)}.png")


def line(name: str, steps: int | None, found: Reading, keys: Tensor | None) -> None:
    """One line of the table."""
    right = found.fault == Fault.NONE
    wrong = {kind.name.lower(): share(found.fault == kind) for kind in Fault if kind != Fault.NONE}
    told = ", ".join(f"{kind} {value}" for kind, value in wrong.items() if not value.startswith("0.0 "))
    right_key = share(right & (found.first == keys)) if keys is not None else ""
    print(f"{name:24} {steps or '':>6} {share(right):>13} {right_key:>13}   {told}", flush=True)


def share(which: Tensor) -> str:
    """Per cent, and its standard error."""
    p = float(which.double().mean())
    return f"{100 * p:.1f} ± {100 * math.sqrt(p * (1 - p) / len(which)):.1f}%"


def slug(name: str) -> str:
    """A name for a file."""
    return name.replace(" ", "-")


if __name__ == "__main__":
    main()
