"""What the commands do. Each is a few calls that Python can make as briefly, and a line on what came of them.

A command is given the words that `undiffuse.cli.program` has read. Whatever it needs, it imports when it runs.
"""

import json
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undiffuse.cli.absent import absent
from undiffuse.cli.speech import say, show, stream
from undiffuse.cli.words import (
    at_least_1,
    bridge_for,
    called,
    cascade_for,
    check_written_on,
    ends,
    following,
    given,
    guiding,
    inverting,
    is_data,
    is_quiet,
    out_path,
    overridden,
    pictured,
    prompt,
    recipe_for,
    requested,
    sampling,
    started,
)
from undiffuse.core.errors import UserError, shown
from undiffuse.core.origin import command, read_origin
from undiffuse.core.parallel import is_main
from undiffuse.core.paths import path_of

if TYPE_CHECKING:
    from torch import Tensor

    from undiffuse.draw.animation import Frame
    from undiffuse.kind.kind import Kind
    from undiffuse.run.given import Told
    from undiffuse.run.plan import Plan
    from undiffuse.run.run import Run
    from undiffuse.run.start import FirstState
    from undiffuse.sampling.sampling import Sampling

FILM_STEPS = 40  # at least, without --steps: a film of fewer is over too soon
FEW = 500  # rows of a drawn data set: enough to describe it
DEFAULT_RECIPE = "swiss-roll"  # whose fields `train --help` lists
FILM = ".gif"
PICTURES = (".png", FILM)  # which are not data, alone
BETWEEN = 16  # samples on the way from one to another


def recipes(options: Namespace) -> None:
    """List the recipes that can be trained out of the box."""
    with absent():
        from undiffuse.recipes import RECIPES

    width = max(map(len, RECIPES))
    for name, make in RECIPES.items():
        say(f"{name:{width}}  {(make.__doc__ or '').splitlines()[0]}")


def runs(options: Namespace) -> None:
    """List the runs below a folder: how far each is, and what it measured last."""
    from undiffuse.train.listing import runs, table

    lines = runs(path_of(options.folder))
    if options.json:
        print(json.dumps([line.to_json() for line in lines]))
    else:
        show(table(lines))


def data(options: Namespace) -> None:
    """Describe the data of a recipe or a run, or your own, and draw or save some of it."""
    from undiffuse.data.augment import shown_augmented
    from undiffuse.data.source import DrawnSource, Source
    from undiffuse.kind import ENDINGS, describe, kind_of

    out, made_by = out_path(options, ENDINGS), read_origin(path_of(options.target))
    for name, value in made_by.items():
        say(f"{name}: {shown(value)}")
    if made_by and Path(options.target).suffix.lower() in PICTURES:
        return
    source: Source | DrawnSource = recipe_for(options.target).data
    note = "these are the training data; --split test shows the held-out data"
    if isinstance(source, DrawnSource) and source.count > FEW:
        note = f"drawn like the {source.count:,} of a training; --split test shows the held-out data"
        source = source.few(max(FEW, at_least_1("-n", options.count, FEW))) if options.split == "train" else source
    dataset = source.open(options.split)
    kind = kind_of(dataset)
    if out:
        kind.check_ending(out)
    say(describe(dataset))
    if options.split == "train":
        say(f"  note: {note}")
    if out:
        rows = kind.some(dataset, at_least_1("-n", options.count, kind.shown), options.seed)
        if options.augment:
            rows = replace(rows, x=shown_augmented(rows.x, options.augment, options.seed))
        kind.save(rows, out)
        _say(kind.printed(rows), f"wrote {out}: {len(rows.x):,} of {len(dataset):,} {kind.items}")


def train(options: Namespace, fields: Sequence[tuple[str, str]]) -> None:
    """Train a recipe, a saved recipe.yaml, or a model of your own data."""
    began = time.monotonic()  # what is imported takes seconds
    from undiffuse.run.folder import load
    from undiffuse.train.budget import planned
    from undiffuse.train.fine_tune import fine_tuned
    from undiffuse.train.length import Clock
    from undiffuse.train.loop import new_folder, train

    own = options.end is None and is_data(options.target)
    fields = [("data.condition" if name == "condition" else name, value) for name, value in fields]
    clock = None if options.minutes is None else Clock(options.minutes, began)
    out = new_folder(options.out or Path("runs") / called(options))
    init = load(options.init) if options.init else None
    recipe, fields = cascade_for(options, fields) or (bridge_for(options) or recipe_for(options.target, fields), fields)
    if options.task is not None:
        from undiffuse.recipes.restored import restored

        recipe = restored(recipe, options.task)
    recipe = overridden(fine_tuned(init, recipe) if init else recipe, fields)
    if clock:
        recipe, line = planned(
            recipe, clock, {recipe.path_of(name) for name, _ in fields}, (own or bool(options.sizes)) and not init
        )
        if not options.quiet:
            say(line)
    _say_trained(train(recipe, out, is_quiet(options), clock=clock, init=init, following=following(options)))


def distill(options: Namespace, fields: Sequence[tuple[str, str]]) -> None:
    """Train a student of a run that needs one step, or a few, where the run needs many."""
    from undiffuse.loss.methods import method_of
    from undiffuse.run.folder import load
    from undiffuse.train.distill import cost, student
    from undiffuse.train.loop import train

    method = method_of(options.method)
    teacher = load(options.folder)
    recipe = overridden(student(teacher, method, options.evaluations, options.guidance or ()), fields)
    if not options.quiet:
        say(f"{options.out}: {cost(recipe, teacher)}")
    _say_trained(train(recipe, options.out, is_quiet(options), teacher))


def resume(options: Namespace) -> None:
    """Continue a training where it stopped, or make it longer."""
    from undiffuse.train.loop import resume

    how = {"steps": options.steps, "minutes": options.minutes}
    _say_trained(resume(options.folder, is_quiet(options), **how, following=following(options)))


def sample(options: Namespace) -> None:
    """Draw samples from a trained model: a picture, an array, a table or a film, by the suffix of --out."""
    from undiffuse.kind import ENDINGS, kind_of
    from undiffuse.run.inverse import USUAL

    if options.tokens is not None:
        return write_on(options)
    if options.out and Path(options.out).suffix.lower() == FILM:
        return animate(options)
    if options.out:
        out_path(options, ENDINGS)  # checked before a model is loaded
    run = guiding(options)
    kind = kind_of(run)
    out = _out_of(kind, options, "samples")
    told, known, start = pictured(options, run, kind), given(options, run, kind), started(options, run, kind)
    rows_given = _rows_of(known) or _rows_of(start) or max(map(len, told.values()), default=0)
    count = at_least_1("-n", options.count, rows_given or kind.shown)
    how = sampling(options, run)
    rows = kind.made(run, run.draw(count, requested(options, run, told), how, known, start))
    kind.save(rows, out)
    _say(kind.printed(rows), f"wrote {out}: {kind.counted(count)}, {_planned(run, how, start, known).describe()}")
    if (options.low is not None and not told) or options.gray is not None:
        say(f"  note: not trained for it, but guided by what is seen ({options.by or USUAL})")


def write_on(options: Namespace) -> None:
    """Write a text on after a prompt, on the terminal as it is drawn, and into a file; if stopped, as far as it is."""
    from undiffuse.core.files import write_text
    from undiffuse.kind import kind_of

    check_written_on(options)
    out = out_path(options, (".txt",), otherwise="samples.txt")
    run, known = guiding(options), prompt(options)
    written = ""
    try:
        for piece in kind_of(run).write_on(run, known, options.tokens, sampling(options, run), requested(options, run)):
            stream(piece if written else known + piece)
            written += piece
    finally:
        if written:
            say("")
            write_text(out, known + written + "\n")
    say(f"wrote {out}: {options.tokens:,} tokens after a prompt of {len(known):,} characters")


def translate(options: Namespace) -> None:
    """Take rows of a file across a bridge to its other data set, or back."""
    from undiffuse.kind import ENDINGS, kind_of
    from undiffuse.run.folder import load
    from undiffuse.run.run import Samples
    from undiffuse.run.translate import require_bridge, translate

    if options.out:
        out_path(options, ENDINGS)
    run = load(options.folder)
    require_bridge(run)
    kind = kind_of(run)
    out, how = _out_of(kind, options, "translated"), sampling(options, run)
    x = translate(run, kind.rows(run, path_of(options.rows)), options.back, how, requested(options, run))
    kind.save(kind.made(run, Samples(x, None)), out)
    say(f"wrote {out}: {kind.counted(len(x))} translated{' back' * options.back}, {run.plan(how).describe()}")


def impute(options: Namespace) -> None:
    """Fill the missing cells of a file, given the known cells of each row."""
    from undiffuse.kind import ENDINGS, kind_of
    from undiffuse.run.folder import load

    if options.out:
        out_path(options, ENDINGS)
    run = load(options.folder)
    kind = kind_of(run)
    out = _out_of(kind, options, "filled")
    known = kind.known(run, path_of(options.holes), complete=True)
    rows = kind.made(run, run.draw(len(known.x), None, sampling(options, run), known))
    kind.save(rows, out)
    missing = int((~known.known).sum() - (rows.x.isnan().sum() if rows.x.is_floating_point() else 0))
    say(f"wrote {out}: {kind.counted(len(rows.x))}, {missing:,} cells filled")


def invert(options: Namespace) -> None:
    """Find the noise that makes the pictures, points or series of a file, to edit them or to interpolate."""
    from undiffuse.kind import kind_of
    from undiffuse.run.invert import ENDING, check_invertible, invert, invert_exactly, returned, write_noise

    out = out_path(options, (ENDING,), otherwise=f"noise{ENDING}")
    run = guiding(options)
    check_invertible(run, "invert")
    kind = kind_of(run)
    x, how = kind.rows(run, path_of(options.rows), options.fit), inverting(options, run)
    wanted = requested(options, run, pictured(options, run, kind))
    if options.exact and options.refine:
        raise UserError("an exact inversion needs no iterations; leave --refine or --exact out")
    rows = run, x, wanted, how
    kept = invert_exactly(*rows) if options.exact else invert(*rows, options.refine)
    off = returned(run, kept, x, wanted, how)
    write_noise(run, kept, out)
    say(f"wrote {out}: the noise of {kind.counted(len(x))}; what comes back is off by {off:.2g} (root mean square)")
    say(f"next: undiffuse sample {run.folder} --noise {out} --sampler {how.sampler} --steps {how.steps}")


def interpolate(options: Namespace) -> None:
    """Draw the samples between samples of several seeds, or between the pictures of files: a sheet or a film."""
    from undiffuse.draw.animation import Frame, write_film
    from undiffuse.kind import ENDINGS, kind_of
    from undiffuse.run.interpolate import interpolate
    from undiffuse.run.invert import check_invertible

    out = out_path(options, (*ENDINGS, FILM), otherwise="between.png")
    run = guiding(options)
    check_invertible(run, "interpolate")
    kind, count = kind_of(run), at_least_1("-n", options.count, BETWEEN)
    film = out.suffix.lower() == FILM
    if not film:
        kind.check_ending(out)
    wanted = run.conditions(1, requested(options, run))
    how = inverting(options, run) if options.files else sampling(options, run)
    texts = options.texts if options.texts and len(options.texts) > 1 else ()
    between, vectors = ends(options, run, kind, wanted, how)
    made = interpolate(run, between, count, wanted, how, texts, vectors)
    if film:
        states = (Frame(made.x[k : k + 1], f"frame {k + 1} of {count}", "") for k in range(count))
        write_film(kind.film(run, states, made._replace(x=made.x[:1], conditions=wanted)), out, count)
    else:
        kind.save(kind.made(run, made), out)
    say(f"wrote {out}: {kind.counted(count)} on the way, {run.plan(how).describe()}")


def evaluate(options: Namespace) -> None:
    """Measure the samples of a run: every number beside its floor, which is that of real data."""
    from undiffuse.evaluate.kept import keep_evaluation
    from undiffuse.kind import evaluate

    run = guiding(options)
    report = evaluate(run, options.count, sampling(options, run), options.target, options.features)
    kept = keep_evaluation(run, report, command()) if is_main() else None
    if options.json:
        print(json.dumps(report.to_json()))
    else:
        show(report.table())
        if kept:
            say(f"kept in {kept}")


def doctor(options: Namespace) -> None:
    """Say why samples are bad: what is wrong with a run, or with data, from measurements, and what mends it."""
    from undiffuse.doctor import SAMPLES, diagnose_data, diagnose_run, seconds
    from undiffuse.run.folder import RECIPE, load

    if (path_of(options.target) / RECIPE).is_file():
        run, count = load(options.target), at_least_1("-n", options.count, SAMPLES)
        if not options.json:
            say(f"about {seconds(run, count):.0f} seconds")
        found = diagnose_run(run, count, options.seed)
    else:
        found = diagnose_data(recipe_for(options.target).data.open("train"), options.target, options.seed)
    if options.json:
        print(json.dumps(found.to_json()))
    else:
        show(found.table())


def likelihood(options: Namespace) -> None:
    """Measure the likelihood of held-out data, in bits or nats: by the bound, or by the probability flow."""
    from undiffuse.kind import kind_of
    from undiffuse.run.folder import load

    flow = options.flow or options.exact
    run, rows = load(options.folder), (options.count, options.seed, options.split)
    found = kind_of(run).likelihood(run, *rows, flow=flow, exact=options.exact, steps=options.steps)
    if options.json:
        print(json.dumps(found.to_json()))
    else:
        show(found.table())


def compare(options: Namespace) -> None:
    """Compare samplers, quality against network evaluations: a table, a plot, and the answer in words."""
    from undiffuse.evaluate.compare import FILES
    from undiffuse.kind import compare
    from undiffuse.run.folder import load

    folder = path_of(options.out) if options.out else None
    if folder and folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; --out of compare is a folder")
    if folder and not options.force and any((folder / name).exists() for name in FILES):
        raise UserError(f"{folder}: holds a comparison already; add --force to overwrite it")
    run, evaluations = guiding(options), options.steps
    options.steps = None  # here --steps counts evaluations
    how = sampling(options, run)
    found = compare(
        run,
        options.samplers,
        evaluations,
        options.seeds,
        options.count,
        how,
        lambda plans: _tracked(plans, "comparing", len(plans)),
        [load(other) for other in options.beside],
    )
    show(found.table())
    _say(*found.answers(), *found.notes)
    if folder:
        say(f"wrote {', '.join(map(str, found.write(folder)))}")


def tune(options: Namespace) -> None:
    """A sampler of a run's own for few evaluations: --grid tuned."""
    from undiffuse.evaluate.tune import check, cost, draw_lots, kept, table, tune
    from undiffuse.run.tuned import write_tuned

    run, counts, rounds = guiding(options), sorted(set(options.evaluations)), options.rounds
    check(run, counts, options.noises, rounds)
    lots = draw_lots(run, options.noises, options.seed, sampling(options, run))
    most, seconds = cost(lots, counts, rounds)
    if not options.json:
        say(f"{len(lots.fit.z)} noises, at most {most:,} network evaluations: about {seconds / 60:.1f} minutes")
    results = []
    for count in counts:
        watch = partial(_tracked, what=f"tuning {count} evaluations", total=rounds + 1)
        results.append(tune(lots, count, rounds, options.sampler, watch))
        path = write_tuned(run.folder, kept(lots, results))
    if options.json:
        print(json.dumps([result.to_json() for result in results]))
    else:
        show(table(results))
        say(f"wrote {path}; next: undiffuse sample {run.folder} --grid tuned --steps {counts[0]}")


def export(options: Namespace) -> None:
    """Write a run in the words of other programs: a new folder."""
    from undiffuse.export import export
    from undiffuse.run.folder import load

    out = path_of(options.out or f"{path_of(options.folder).name}-{options.to}")
    said = export(load(options.folder), options.to, out)
    say(f"wrote {out}: {said}")


def page(options: Namespace) -> None:
    """Write a page for the browser, on which runs un-diffuse noise: a static folder."""
    from undiffuse.page import page
    from undiffuse.run.folder import load

    said = page([load(folder) for folder in options.runs], options.out, options.runtime, options.force)
    say(said)
    say(f"wrote {options.out}; serve it: python -m http.server --directory {options.out}, open http://localhost:8000")


def animate(options: Namespace) -> None:
    """Make a film of noise that becomes data."""
    import torch

    from undiffuse.draw.animation import frames_to_show, write_film
    from undiffuse.kind import kind_of
    from undiffuse.run.run import Samples

    out = out_path(options, (FILM,), otherwise="undiffuse.gif")
    run = guiding(options)
    kind = kind_of(run)
    told, known, start = pictured(options, run, kind), given(options, run, kind), started(options, run, kind)
    count = at_least_1("-n", options.count, _rows_of(known) or _rows_of(start) or kind.filmed or 1)
    steps = run.steps if run.is_few_step else max(FILM_STEPS, run.steps)
    options.steps = at_least_1("--steps", options.steps, steps)
    how, wanted = sampling(options, run), requested(options, run, told)
    plan = _planned(run, how, start, known)
    frames = frames_to_show(len(plan.times))
    states = _shown(run.trajectory(count, wanted, how, given=known, start=start), frames, len(plan.times) - 1, run)
    drawn = Samples(torch.zeros(count, *run.shape), run.conditions(count, wanted))
    write_film(kind.film(run, _tracked(states, "filming", len(frames)), drawn), out, len(frames))
    say(f"wrote {out}: {len(frames)} frames of {kind.counted(count)}, {plan.describe()}")


def write(options: Namespace) -> None:
    """Write a text, each letter a sample, line by line: a film or a picture, by the suffix of --out."""
    from itertools import chain

    from undiffuse.core.files import write_atomically
    from undiffuse.draw.animation import write_film
    from undiffuse.kind.write import lines, pages

    out = out_path(options, (FILM, ".png"), otherwise="letters.gif")
    text = lines(options.text, options.columns)
    run = guiding(options)
    how = sampling(options, run)
    made = pages(run, text, how)
    first = next(made)  # raises an error for letters that cannot be written
    plan = run.plan(how)
    steps = len(plan.times) - 1
    written = [row for row in text if row.strip()]
    count = len(written) * (steps + 1)
    shown = (page.image for page in _tracked(chain([first], made), "writing", count))
    if out.suffix.lower() == FILM:
        write_film(shown, out, count, held=range(steps, count, steps + 1))
    else:
        *_, last = shown
        write_atomically(out, last.save)
    letters = sum(len(row.replace(" ", "")) for row in text)
    rows = "1 line" if len(written) == 1 else f"{len(written)} lines"
    say(f"wrote {out}: {letters} letters on {rows}, {plan.describe()}")


def fields(target: str | None) -> str:
    """The fields of a recipe, their values and types, one line for each."""
    from dataclasses import is_dataclass

    from undiffuse.core.configuration import kebab, spoken

    def typed(value: object) -> str:
        if is_dataclass(value):
            return kebab(type(value).__name__)
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return str(value).lower() if isinstance(value, bool | None) else str(value)

    target = target or DEFAULT_RECIPE
    with nullcontext() if is_data(target) else absent():
        recipe = recipe_for(target)
    rows = [(recipe.option_of(path), typed(value), spoken(hint)) for path, hint, value in recipe.leaves()]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"  {name:{width}}  {value:14}  ({kind})" for name, value, kind in rows]
    return "\n".join([f"the fields of {target}:", *lines])


# ----------------------------------------------------------------------------------------- what the commands share


def _shown(states: "Iterable[tuple[Tensor, float]]", frames: list[int], steps: int, run: "Run") -> "Iterator[Frame]":
    """Those states of a trajectory that a film shows, and the captions above them."""
    from undiffuse.draw.animation import Frame

    for k, (x, t) in enumerate(states):
        if k in frames:
            yield Frame(x, f"step {k} of {steps}", run.denoiser.process.level(t))


def _planned(run: "Run", how: "Sampling", start: "FirstState", known: "Told | None") -> "Plan":
    plan = run.plan(how, start)
    return plan if known is None else plan._replace(evaluations=known.evaluations(plan.evaluations))


def _rows_of(told: object) -> int:
    """How many rows there are of what is known or started from; 0 if there is nothing."""
    return len(getattr(told, "x", ()))


def _out_of(kind: "Kind", options: Namespace, name: str) -> Path:
    """Where rows of this kind are saved, checked beforehand: --out, or ``name`` with the kind's suffix."""
    if options.out:
        kind.check_ending(Path(options.out))
    path: Path = out_path(options, kind.writers, otherwise=f"{name}{next(iter(kind.writers))}")
    return path


def _say(*lines: str) -> None:
    """Print lines on stdout, without empty ones."""
    say("\n".join(filter(None, lines)))


def _say_trained(run: "Run") -> None:
    say(f"{run.folder}: trained {run.step:,} steps in {run.seconds:,.0f} s")
    sampled = f"RUN --classifier {run.folder}" if run.is_classifier else run.folder
    also = f"    or: undiffuse translate {run.folder} FILE" if run.is_bridge else ""
    draws = f"undiffuse sample {sampled}    or: " if run.recipe.samples or run.is_classifier else ""
    say(f"next: {draws}undiffuse evaluate {run.folder}{also}")


def _tracked(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """The same items, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, what, total, console=console, transient=True, disable=not console.is_terminal)
