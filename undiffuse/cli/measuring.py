"""The commands that measure a run, and tune it by what they measure."""

import json
from argparse import Namespace
from functools import partial

from undiffuse.cli.speech import say, say_each, show, tracked
from undiffuse.cli.words import at_least_1, guiding, recipe_for, sampling
from undiffuse.core.errors import UserError
from undiffuse.core.origin import command
from undiffuse.core.parallel import is_main
from undiffuse.core.paths import path_of


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
        lambda plans: tracked(plans, "comparing", len(plans)),
        [load(other) for other in options.beside],
    )
    show(found.table())
    say_each(*found.answers(), *found.notes)
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
        watch = partial(tracked, what=f"tuning {count} evaluations", total=rounds + 1)
        results.append(tune(lots, count, rounds, options.sampler, watch))
        path = write_tuned(run.folder, kept(lots, results))
    if options.json:
        print(json.dumps([result.to_json() for result in results]))
    else:
        show(table(results))
        say(f"wrote {path}; next: undiffuse sample {run.folder} --grid tuned --steps {counts[0]}")
