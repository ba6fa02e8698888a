"""The commands that draw: samples, what is known put into them, the way between them, and films of it."""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from undiffuse.cli.speech import say, say_each, stream, tracked
from undiffuse.cli.words import (
    at_least_1,
    check_written_on,
    ends,
    given,
    guiding,
    inverting,
    out_of,
    out_path,
    pictured,
    prompt,
    requested,
    sampling,
    started,
)
from undiffuse.core.errors import UserError
from undiffuse.core.paths import path_of

if TYPE_CHECKING:
    from torch import Tensor

    from undiffuse.draw.animation import Frame
    from undiffuse.run.given import Told
    from undiffuse.run.plan import Plan
    from undiffuse.run.run import Run
    from undiffuse.run.start import FirstState
    from undiffuse.sampling.sampling import Sampling

FILM_STEPS = 40  # at least, without --steps: a film of fewer is over too soon
FILM = ".gif"
BETWEEN = 16  # samples on the way from one to another


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
    out = out_of(kind, options, "samples")
    told, known, start = pictured(options, run, kind), given(options, run, kind), started(options, run, kind)
    rows_given = _rows_of(known) or _rows_of(start) or max(map(len, told.values()), default=0)
    count = at_least_1("-n", options.count, rows_given or kind.shown)
    how = sampling(options, run)
    rows = kind.made(run, run.draw(count, requested(options, run, told), how, known, start))
    kind.save(rows, out)
    say_each(kind.printed(rows), f"wrote {out}: {kind.counted(count)}, {_planned(run, how, start, known).describe()}")
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
    out, how = out_of(kind, options, "translated"), sampling(options, run)
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
    out = out_of(kind, options, "filled")
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
    write_film(kind.film(run, tracked(states, "filming", len(frames)), drawn), out, len(frames))
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
    shown = (page.image for page in tracked(chain([first], made), "writing", count))
    if out.suffix.lower() == FILM:
        write_film(shown, out, count, held=range(steps, count, steps + 1))
    else:
        *_, last = shown
        write_atomically(out, last.save)
    letters = sum(len(row.replace(" ", "")) for row in text)
    rows = "1 line" if len(written) == 1 else f"{len(written)} lines"
    say(f"wrote {out}: {letters} letters on {rows}, {plan.describe()}")


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
