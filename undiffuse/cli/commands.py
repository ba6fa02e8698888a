"""What the commands do. Each is a few calls that Python can make as briefly, and a line on what came of them.

A command is given the words that `undiffuse.cli.program` has read. Whatever it needs, it imports when it runs.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undiffuse.cli.words import (
    at_least_1,
    guidance,
    how_to_sample,
    is_quiet,
    name_for,
    out_path,
    overridden,
    recipe_for,
)
from undiffuse.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from undiffuse.data.dataset import Dataset
    from undiffuse.draw.animation import State
    from undiffuse.draw.save import Rows
    from undiffuse.run.run import Plan, Run

TABLES = (".csv", ".tsv")
SAVED = {  # by endings of files
    "points": (".png", ".npy", ".npz", ".csv"),
    "pictures": (".png", ".npy", ".npz"),
    "tokens": (".txt", ".npy"),
    "table": TABLES,
}
ALL_SAVED = tuple(dict.fromkeys(ending for endings in SAVED.values() for ending in endings))
SHOWN = {"points": 2000, "pictures": 64, "table": 1000, "tokens": 10}  # samples, unless -n says how many
FILMED = {"points": 1500, "pictures": 36, "tokens": 1}
RULE = "-" * 40  # between two texts
CALLED = {"tokens": "texts"}
FILM_STEPS = 40  # at least, unless --steps says how many: fewer are over before they are seen
DEFAULT_RECIPE = "swiss-roll"  # whose fields `train --help` lists


def recipes(options: Namespace) -> None:
    """What can be trained out of the box."""
    from undiffuse.recipes import RECIPES

    width = max(map(len, RECIPES))
    for name, make in RECIPES.items():
        print(f"{name:{width}}  {(make.__doc__ or '').splitlines()[0]}")


def data(options: Namespace) -> None:
    """What a recipe or a run trains on, or data of your own: described, and drawn or saved."""
    from undiffuse.data.describe import describe
    from undiffuse.draw.save import save_rows

    out = out_path(options, ALL_SAVED)
    dataset = recipe_for(options.target).data.open(options.split)
    if out:
        _check_ending(dataset.kind, out)
    print(describe(dataset))
    if options.split == "train":
        print("  note: this is what is trained on; --split test shows what is held out")
    if out and dataset.kind == "table":
        _save_some_of_table(dataset, at_least_1("-n", options.count, SHOWN["table"]), options.seed, out)
    elif out and dataset.alphabet is not None:
        chosen = _some_rows(dataset, at_least_1("-n", options.count, SHOWN["tokens"]), options.seed)
        _save_texts([dataset.alphabet.decode(piece) for piece in chosen.x], chosen.x, out)
    elif out:
        rows = _some_rows(dataset, at_least_1("-n", options.count, SHOWN[dataset.kind]), options.seed)
        save_rows(rows, out)
        print(f"wrote {out}: {len(rows.x):,} of {len(dataset):,} {dataset.kind}")


def train(options: Namespace, fields: Sequence[tuple[str, str]]) -> None:
    """Train a recipe, a saved recipe.yaml, or a model of your own data."""
    from undiffuse.train.loop import train

    recipe = recipe_for(options.target, fields)
    for name, value in fields:
        recipe = overridden(recipe, name, value)
    run = train(recipe, options.out or Path("runs") / name_for(options.target), quiet=is_quiet(options))
    _say_trained(run)


def resume(options: Namespace) -> None:
    """Go on with a training where it stopped."""
    from undiffuse.train.loop import resume

    _say_trained(resume(options.folder, quiet=is_quiet(options)))


def sample(options: Namespace) -> None:
    """Draw from a trained model: a picture, an array, a table or a film, by the ending of --out."""
    from undiffuse.draw.save import save_rows
    from undiffuse.run.run import load

    out = out_path(options, (*ALL_SAVED, ".gif"), otherwise=_samples(options.folder))
    if out.suffix.lower() == ".gif":
        return animate(options)
    run = load(options.folder)
    _check_ending(run.kind, out)
    count = at_least_1("-n", options.count, SHOWN[run.kind])
    if run.kind == "table" or options.given:
        return _sample_table(run, count, out, options)
    if run.kind == "tokens" or options.prompt:
        return _sample_text(run, count, out, options)
    how = how_to_sample(options)
    rows = _joint_rows(run, count, how) if run.is_joint else _made_rows(run, run.sample(count, **how), how)
    save_rows(rows, out)
    print(f"wrote {out}: {count:,} {run.kind}, {_cost(run, options)}")


def impute(options: Namespace) -> None:
    """Fill the missing cells of a table, given what is known of each row."""
    from undiffuse.data.readers.table import read_rows, write_table
    from undiffuse.kind.fill import impute, schema_of
    from undiffuse.run.run import load

    out = out_path(options, TABLES, otherwise="filled.csv")
    run = load(options.folder)
    schema = schema_of(run)
    x = read_rows(Path(options.holes).expanduser(), schema)
    filled = impute(run, x, options.seed, run.plan(options.steps))
    write_table(schema, filled, out)
    print(f"wrote {out}: {len(x):,} rows, {int((x.isnan() & ~filled.isnan()).sum()):,} cells filled")


def evaluate(options: Namespace) -> None:
    """How good the samples of a run are: every number beside the one that real data gets."""
    from undiffuse.evaluate.evaluate import evaluate
    from undiffuse.run.run import load

    how = (options.features, options.sampler, options.steps, options.guidance)
    report = evaluate(load(options.folder), options.count, options.seed, options.target, *how)
    if options.json:
        print(json.dumps(report.to_json()))
    else:
        _print(report.table())


def likelihood(options: Namespace) -> None:
    """How likely held-out data is under a run: bits or nats, by the bound, or exactly by the flow."""
    from undiffuse.evaluate.likelihood import likelihood
    from undiffuse.run.run import load

    flow = options.flow or options.exact
    run, rows = load(options.folder), (options.count, options.seed, options.split)
    found = likelihood(run, *rows, flow=flow, exact=options.exact, steps=options.steps)
    if options.json:
        print(json.dumps(found.to_json()))
    else:
        _print(found.table())


def compare(options: Namespace) -> None:
    """Quality against network evaluations, sampler by sampler: a table, a picture, and the answer in words."""
    from undiffuse.evaluate.compare import FILES, compare
    from undiffuse.run.run import load

    folder = Path(options.out).expanduser() if options.out else None
    if folder and folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; --out of compare is a folder")
    if folder and not options.force and any((folder / name).exists() for name in FILES):
        raise UserError(f"{folder}: holds a comparison already; add --force to overwrite it")
    run, watch = load(options.folder), lambda plans: _tracked(plans, "comparing", len(plans))
    found = compare(run, options.samplers, options.steps, options.seeds, options.count, guidance(options), watch)
    _print(found.table())
    print(*found.answers(), *found.notes, sep="\n")
    if folder:
        print(f"wrote {', '.join(map(str, found.write(folder)))}")


def animate(options: Namespace) -> None:
    """A film of noise that becomes data."""
    from undiffuse.codec import TokenCodec
    from undiffuse.draw.animation import film_of_pictures, film_of_points, kept, write_film
    from undiffuse.draw.points import Cloud
    from undiffuse.draw.texts import film_of_texts
    from undiffuse.run.run import load

    out = out_path(options, (".gif",), otherwise="undiffuse.gif")
    run = load(options.folder)
    if run.kind not in FILMED:
        raise UserError(f"a {run.kind} is not filmed; use: undiffuse sample {options.folder} --out rows.csv")
    count = at_least_1("-n", options.count, FILMED[run.kind])
    options.steps = at_least_1("--steps", options.steps, max(FILM_STEPS, run.sampling_steps))
    frames = kept(options.steps + 1)
    how = how_to_sample(options)
    states = _tracked(_states(run, count, set(frames), how), "filming", len(frames))
    if run.kind == "pictures":
        pages = film_of_pictures(states)
    elif isinstance(run.codec, TokenCodec):
        pages = film_of_texts(states, run.codec.alphabet)
    else:
        beside = _some_rows(run.dataset(), 2 * count, seed=0)
        pages = film_of_points(states, Cloud("data", beside.x), *_labels(run, count, how))
    write_film(pages, out, len(frames))
    print(f"wrote {out}: {len(frames)} frames of {count:,} {CALLED.get(run.kind, run.kind)}, {_cost(run, options)}")


def write(options: Namespace) -> None:
    """Write a text: each letter a sample, line by line, as a film or, by the ending of --out, a picture."""
    from itertools import chain

    from undiffuse.core.files import write_atomically
    from undiffuse.draw.animation import write_film
    from undiffuse.kind.write import lines, pages
    from undiffuse.run.run import load

    out = out_path(options, (".gif", ".png"), otherwise="letters.gif")
    text = lines(options.text, options.columns)
    run = load(options.folder)
    options.label = None  # they are the text's own
    how = {name: value for name, value in how_to_sample(options).items() if name != "label"}
    made = pages(run, text, **how)
    first = next(made)  # what cannot be written is said before anything is drawn
    steps = options.steps or run.sampling_steps
    written = [row for row in text if row.strip()]
    count = len(written) * (steps + 1)
    shown = (page.image for page in _tracked(chain([first], made), "writing", count))
    if out.suffix.lower() == ".gif":
        write_film(shown, out, count, held=range(steps, count, steps + 1))
    else:
        *_, last = shown
        write_atomically(out, last.save)
    letters = sum(len(row.replace(" ", "")) for row in text)
    rows = "1 line" if len(written) == 1 else f"{len(written)} lines"
    print(f"wrote {out}: {letters} letters on {rows}, {_cost(run, options)}")


def fields(target: str | None) -> None:
    """The fields of a recipe, their values, and what they may be."""
    from undiffuse.core.configuration import kebab, leaves

    def typed(value: object) -> str:
        if is_dataclass(value):
            return kebab(type(value).__name__)
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return str(value).lower() if isinstance(value, bool | None) else str(value)

    target = target or DEFAULT_RECIPE
    rows = [(f"--{name.replace('_', '-')}", typed(value), kind) for name, kind, value in leaves(recipe_for(target))]
    width = max(len(name) for name, _, _ in rows)
    print(f"the fields of {target}:")
    for name, value, kind in rows:
        print(f"  {name:{width}}  {value:14}  ({kind})")


# ----------------------------------------------------------------------------------------- what they share


def _sample_table(run: "Run", count: int, out: Path, options: Namespace) -> None:
    """Rows as a .csv or .tsv with the columns of the data, some of them fixed where ``--given`` says so."""
    from undiffuse.data.readers.table import write_table
    from undiffuse.kind.fill import given, schema_of

    schema = schema_of(run)
    if options.given:
        rows = given(run, options.given, count, options.seed, _plan_unlabelled(run, options))
    else:
        rows = run.sample(count, **how_to_sample(options))
    write_table(schema, rows, out)
    print(f"wrote {out}: {count:,} rows, {_cost(run, options)}")


def _sample_text(run: "Run", count: int, out: Path, options: Namespace) -> None:
    """Texts, of which some is as ``--prompt`` says; also shown, if they are few."""
    from undiffuse.kind.prompt import infill, read

    if options.prompt is not None:
        x = infill(run, options.prompt, count, options.hole, options.seed, _plan_unlabelled(run, options))
    else:
        x = run.sample(count, **how_to_sample(options))
    _save_texts(read(run.codec, x), x, out)
    print(f"wrote {out}: {count:,} texts, {_cost(run, options)}")


def _plan_unlabelled(run: "Run", options: Namespace) -> "Plan":
    """How rows or a text are sampled of which some is known; labels, which these have none of, are refused."""
    asked = guidance(options)
    run.labels(1, options.label, guidance=asked)
    return run.plan(options.steps, options.sampler, asked, options.grid)


def _save_texts(texts: Sequence[str], x: "Tensor", out: Path) -> None:
    """As text, one after the other with a line between them; or as an array of tokens. The first are shown."""
    from undiffuse.core.files import write_text
    from undiffuse.draw.save import Rows, save_rows

    if out.suffix.lower() == ".npy":
        save_rows(Rows(x), out)
    else:
        write_text(out, f"\n{RULE}\n".join(texts) + "\n")
    print(f"\n{RULE}\n".join(texts[:3]) + f"\n{RULE}")


def _labels(run: "Run", count: int, how: dict[str, Any]) -> "tuple[Tensor | None, tuple[str, ...]]":
    """The labels that samples were asked to be, as one kind of label, and its names."""
    from undiffuse.condition.label import combined

    return combined(run.labels(count, how["label"], guidance=how["guidance"]), how["guidance"].names(run))


def _cost(run: "Run", options: Namespace) -> str:
    """What sampling cost, in words."""
    asked = guidance(options)
    plan, weight = run.plan(options.steps, options.sampler, asked, options.grid), asked.weight_for(run)
    guided = f", each guided by {weight:g}" if weight != 1 else ""
    return f"{plan.sampler} with {len(plan.times) - 1} steps, {plan.evaluations} network evaluations each" + guided


def _samples(folder: str) -> str:
    """What samples are called unless --out says."""
    from undiffuse.codec import Tabular, Verbatim
    from undiffuse.run.run import read_recipe

    codec = read_recipe(Path(folder).expanduser()).codec
    return {Tabular: "samples.csv", Verbatim: "samples.txt"}.get(type(codec), "samples.png")


def _save_some_of_table(dataset: "Dataset", count: int, seed: int, out: Path) -> None:
    from undiffuse.data.readers.table import write_table

    rows = _some_rows(dataset, count, seed).x
    write_table(dataset.schema, rows, out)
    print(f"wrote {out}: {len(rows):,} of {len(dataset):,} rows")


def _check_ending(kind: str, out: Path) -> None:
    """Raises UserError for a file that does not hold such data, before any is made."""
    if out.suffix.lower() not in SAVED[kind]:
        *most, last = SAVED[kind]
        called = {"table": "a table is", "tokens": "text is"}.get(kind, f"{kind} are")
        raise UserError(f"{out}: {called} saved as {', '.join(most)} or {last}")


def _some_rows(dataset: "Dataset", count: int, seed: int) -> "Rows":
    """At most ``count`` rows of the data, drawn by ``seed``."""
    import torch

    from undiffuse.condition.label import combined
    from undiffuse.draw.save import Rows

    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count]
    labels, names = combined(dataset.labels, dataset.label_names)
    return Rows(dataset.x[chosen], None if labels is None else labels[chosen], names, dataset.columns, dataset.name)


def _made_rows(run: "Run", samples: "Tensor", how: dict[str, Any]) -> "Rows":
    """Samples with their labels; points with what they are drawn beside."""
    from undiffuse.data.source import Toy
    from undiffuse.data.synthetic.densities import DENSITIES
    from undiffuse.draw.points import Cloud
    from undiffuse.draw.save import Rows

    (labels, names), source = _labels(run, len(samples), how), run.recipe.data
    density = DENSITIES.get(source.name) if isinstance(source, Toy) else None
    beside = None
    if run.kind == "points":
        with suppress(UserError):  # the data may be gone: to sample, the model is enough
            shown = _some_rows(run.dataset(), max(1000, len(samples)), seed=0)
            beside = Cloud("data", shown.x, shown.labels)
    log_density = density.log_density if density else None
    return Rows(samples, labels, names, run.columns, beside=beside, log_density=log_density)


def _joint_rows(run: "Run", count: int, how: dict[str, Any]) -> "Rows":
    """Pictures with the labels that were drawn with them."""
    from undiffuse.condition.label import combined
    from undiffuse.draw.save import Rows
    from undiffuse.kind.joint import draw

    pictures, labels = draw(run, count, **how)
    return Rows(pictures, *combined(labels, run.label_names))


def _states(run: "Run", count: int, shown: set[int], how: dict[str, Any]) -> "Iterator[State]":
    """Those states of a trajectory that a film shows, and what is written above them."""
    from undiffuse.draw.animation import State

    for k, (x, t) in enumerate(run.trajectory(count, **how)):
        if k in shown:
            yield State(x, f"step {k} of {how['steps']}", _level(run, t))


def _level(run: "Run", t: float) -> str:
    """How much is lost at a time, in words."""
    process = run.denoiser.process
    if run.is_of_tokens:
        return f"lost {float(process.kept(t).lose):.0%}"
    alpha, sigma, _ = process.schedule.at(t)
    return f"noise {sigma / (alpha + sigma):.0%}"


def _say_trained(run: "Run") -> None:
    print(f"{run.folder}: trained {run.step:,} steps in {run.seconds:,.0f} s")
    sampled = f"RUN --classifier {run.folder}" if run.is_classifier else run.folder
    print(f"next: undiffuse sample {sampled}    or: undiffuse evaluate {run.folder}")


def _tracked(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """The same items, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


def _print(table: Any) -> None:
    """A table on stdout: as wide as the terminal, or as it likes."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(table)
