"""What there is: recipes and their fields, data, and runs."""

import json
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from undiffuse.cli.absent import absent
from undiffuse.cli.speech import say, say_each, show
from undiffuse.cli.words import at_least_1, is_data, out_path, recipe_for
from undiffuse.core.errors import shown
from undiffuse.core.origin import read_origin
from undiffuse.core.paths import path_of

FEW = 500  # rows of a drawn data set: enough to describe it
DEFAULT_RECIPE = "swiss-roll"  # whose fields `train --help` lists
PICTURES = (".png", ".gif")  # which are not data, alone


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
    from undiffuse.data.ready import DrawnSource
    from undiffuse.data.source import Source
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
        say_each(kind.printed(rows), f"wrote {out}: {len(rows.x):,} of {len(dataset):,} {kind.items}")


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
