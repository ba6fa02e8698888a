"""From the arguments of the command line to the values that Python takes. Heavy imports happen when needed."""

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undiffuse.cli.restoring import left
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.core.origin import note
from undiffuse.core.paths import path_of

STRENGTH = 0.6  # of --init-picture, unless told otherwise
INVERTED = 50  # steps of an inversion, unless told otherwise
CASCADE = "cascade"  # what is trained of one's own pictures in stages
LONGEST = 1000  # characters of the name of a file
HUB = "hf:"  # a data set of the Hugging Face hub: hf:user/name

if TYPE_CHECKING:
    from torch import Tensor

    from undiffuse.condition.conditions import Conditions
    from undiffuse.condition.read import Request
    from undiffuse.kind.kind import Kind
    from undiffuse.recipe.recipe import Recipe
    from undiffuse.run.given import Told
    from undiffuse.run.run import Run
    from undiffuse.run.start import FirstState, Kept
    from undiffuse.sampling.sampling import Sampling
    from undiffuse.train.following import Following


def recipe_for(target: str, fields: Sequence[tuple[str, str]] = ()) -> "Recipe":
    """A ready recipe by its name, the recipe of a .yaml file or of a run, or a recipe for data of your own.

    Those of ``fields`` that belong to the data say how to read data of your own.
    """
    from undiffuse.recipe.recipe import Recipe
    from undiffuse.recipes import RECIPES, of_hub, own_data
    from undiffuse.run.folder import RECIPE

    path = path_of(target)
    options = {
        name.removeprefix("data.").replace("-", "_"): value for name, value in fields if name.startswith("data.")
    }
    if target in RECIPES:
        return RECIPES[target]()
    if target.startswith(HUB):
        return of_hub(target.removeprefix(HUB), options)
    if path.suffix.lower() in (".yaml", ".yml"):
        return Recipe.load(path)
    if (path / RECIPE).is_file():
        return Recipe.load(path / RECIPE)
    if not path.exists() and path.name == target and not path.suffix:  # a name, not a path
        with usage():
            beside = get_close_matches(target, [found.name for found in Path.cwd().iterdir()], n=1, cutoff=0.7)
            meant = f", but there is {beside[0]}" if beside else ""
            raise UserError(f"{nearest(target, RECIPES, 'recipe')} (nor is there a file or folder {target}{meant})")
    return own_data(path, options)


def bridge_for(options: Namespace) -> "Recipe | None":
    """The recipe of a bridge, where --target says which data it goes to; None where there is none.

    An end is what `recipe_for` understands, ``noise``, or one label of a recipe's data: ``digits:3``.
    """
    with usage():
        if options.end is None and options.method is not None:
            raise UserError("--method is of a bridge; say where it goes: --target B")
    if options.end is None:
        return None
    from undiffuse.recipes.bridges import bridge

    return bridge(_end_for(options.target), _end_for(options.end), options.method or "flow")


def cascade_for(
    options: Namespace, fields: Sequence[tuple[str, str]]
) -> "tuple[Recipe, Sequence[tuple[str, str]]] | None":
    """The recipe of a cascade of one's own pictures, and the fields that are still to be put into it; None for another
    target."""
    if not options.sizes and options.target != CASCADE:
        return None
    data = next((value for name, value in fields if name == "data"), options.target)
    with usage():
        if not options.sizes or data == CASCADE:
            raise UserError("a cascade is of pictures, and has sizes: undiffuse train FOLDER --sizes 16,64")
    from undiffuse.data.own import Files, Hub
    from undiffuse.recipes.cascade import cascade

    rest = [(name, value) for name, value in fields if name != "data"]
    own = [("data.size", str(options.sizes[-1])), *rest]
    source = recipe_for(data, own).data
    with usage():
        if not isinstance(source, Files | Hub):
            raise UserError(f"{data}: a cascade is of a folder of pictures, or of pictures of the hub (hf:NAME)")
    return cascade(source, options.sizes), rest


def _end_for(word: str) -> Any:
    from undiffuse.data.source import StandardNormal
    from undiffuse.recipes import RECIPES
    from undiffuse.recipes.bridges import NOISE, only

    name, colon, label = word.partition(":")
    if word == NOISE:
        return StandardNormal()
    return only(RECIPES[name](), label) if colon and name in RECIPES else recipe_for(word)


def called(options: Namespace) -> str:
    """What a training is called, unless told: as its data, or A-to-B."""
    both = [name_for(word).replace(":", "-") for word in (options.target, options.end) if word]
    return "-to-".join(both)


def is_data(target: str) -> bool:
    """Whether a recipe for ``target`` must read data of your own: it is no recipe's name or file, and no run."""
    path = path_of(target)
    recorded = path.suffix.lower() in (".yaml", ".yml") or (path / "recipe.yaml").is_file()
    return target.startswith(HUB) or ((path.exists() or path.suffix == ".tar") and not recorded)


def name_for(target: str) -> str:
    """The name of a training: that of its recipe, its data, or the folder of its recipe.yaml."""
    path = path_of(target).resolve()
    return path.parent.name if path.name == "recipe.yaml" else path.stem


def out_path(options: Namespace, endings: Iterable[str], otherwise: str | None = None) -> Any:
    """Where to write, checked before any work is done; None without --out and without ``otherwise``."""
    from undiffuse.draw.save import check_writable

    path = options.out or otherwise
    return check_writable(path, endings, options.force) if path else None


@usage()
def at_least_1(option: str, given: int | None, otherwise: int) -> int:
    """The ``given`` count, or ``otherwise``. Raises UserError for a count below 1."""
    if given is not None and given < 1:
        raise UserError(f"{option} must be at least 1, not {given}")
    return given or otherwise


def sampling(options: Namespace, run: "Run") -> "Sampling":
    """The options of sampling, which override the run's defaults; the files that are written carry them."""
    from undiffuse.core.configuration import to_texts
    from undiffuse.sampling.sampling import Guidance

    names = ("negative", "negative_text", "rescale", "interval", "threshold")
    guides = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    if parts := _parts(options):
        guides["parts"] = parts
    how = {name: getattr(options, name, None) for name in ("sampler", "steps", "grid", "seed", "low_noise")}
    with usage():
        chosen = run.sampling.override(**how, guidance=Guidance(getattr(options, "guidance", None), **guides))
    guided = {} if chosen.guidance != Guidance() else {"guidance": "none"}
    note(run=str(run.folder), trained_steps=run.step, **to_texts(chosen) | guided)
    return chosen


def requested(options: Namespace, run: "Run", pictured: "Mapping[str, Tensor] | None" = None) -> "Request":
    """The requested conditions: --cond, --label and --text; and those that were read from pictures."""
    parts = _parts(options)
    texts = [parts[0][0]] if parts else getattr(options, "texts", None)
    return run.request(options.cond, {"label": options.label, "text": texts, **(pictured or {})})


def pictured(options: Namespace, run: "Run", kind: "Kind") -> "dict[str, Tensor]":
    """Conditions that are read from pictures: --low, of a run that was trained to enlarge such; --like, what its stages
    would draw."""
    from undiffuse.run.stages import read_off

    if run.task is not None:
        return left(options, run, kind, run.task)
    low, like = getattr(options, "low", None), getattr(options, "like", None)
    enlarges = run.enlarges if low is not None else None
    with usage():
        if low is not None and like is not None:
            raise UserError("give --low or --like, not both")
        if getattr(options, "edges", None) is not None:
            raise UserError("this run was not trained on edges; train one: undiffuse train DATA --task edges")
        if enlarges and options.by:
            raise UserError("this run was trained to enlarge pictures; leave --by out")
        if like is not None and not run.drawn:
            raise UserError(f"{run.folder} has no stages that would draw something; start from it: --init-picture FILE")
    if like is not None:
        return read_off(run, kind.rows(run, path_of(like), options.fit))
    return {enlarges: kind.to_enlarge(run, path_of(str(low)))} if enlarges else {}


@usage()
def _parts(options: Namespace) -> tuple[tuple[str, float], ...]:
    """The weighted parts of the one --text; none where it is plain, or where several are drawn in turn."""
    from undiffuse.condition.read import parts_of

    texts = [parts_of(text) for text in getattr(options, "texts", None) or () if text.strip()]
    weighted = [parts for parts in texts if len(parts) > 1 or parts[0][1] != 1]
    if weighted and len(texts) > 1:
        raise UserError("a text of weighted parts is drawn alone; give --text once")
    return tuple(weighted[0]) if weighted else ()


def guiding(options: Namespace) -> "Run":
    """The run in a folder, guided by the other runs that the options name."""
    from undiffuse.run.beside import measured_on
    from undiffuse.run.folder import load

    others = {name: load(folder) for name in ("classifier", "worse") if (folder := getattr(options, name, None))}
    run = load(options.folder)
    if getattr(options, "data", None):
        run = measured_on(run, recipe_for(options.data).data)
    return run.guided_by(**others)


def given(options: Namespace, run: "Run", kind: "Kind") -> "Told | None":
    """What is told of the samples, by --given, --prompt, --known, --low or --gray; None without them."""
    from undiffuse.run.given import Given
    from undiffuse.run.inverse import USUAL, completed, seen

    ways = [name for name in ("given", "prompt", "known", "low", "gray") if getattr(options, name) is not None]
    with usage():
        if len(ways) > 1:
            raise UserError(f"give --{ways[0]} or --{ways[1]}, not both")
        if options.gap is not None and options.prompt is None:
            raise UserError("--gap is the sign for a gap in --prompt TEXT; give both")
        if options.mask and options.known is None:
            raise UserError("--mask says which part of --known FILE is unknown; give both")
        if options.by and not {"known", "low", "gray"} & set(ways):
            raise UserError("--by says how --known, --low or --gray FILE guides; give one of them")
    if options.low is not None and run.enlarges is None:
        return seen(run, *kind.low(run, path_of(options.low)), options.by or USUAL)
    if options.gray is not None:
        return seen(run, *kind.grey(run, path_of(options.gray), options.fit), options.by or USUAL)
    known = _known(options, run, kind)
    return completed(run, known, options.by) if isinstance(known, Given) and options.by else known


def _known(options: Namespace, run: "Run", kind: "Kind") -> "Told | None":
    if options.gap is not None:
        return kind.gap(run, prompt(options), options.gap)
    if options.given is not None:
        return kind.given(run, options.given)
    if options.prompt is not None:
        return kind.prompt(run, prompt(options), options.hole)
    if options.known is None:
        return None
    mask = path_of(options.mask) if options.mask else None
    return kind.known(run, path_of(options.known), mask, fit=options.fit)


@usage()
def check_written_on(options: Namespace) -> None:
    """Whether nothing is asked that a text that goes on has no use for. Raises UserError, naming it."""
    others = ("count", "given", "gap", "known", "low", "gray", "like", "init_picture", "noise")
    if asked := next((name for name in others if getattr(options, name) is not None), None):
        word = "-n" if asked == "count" else f"--{asked.replace('_', '-')}"
        raise UserError(f"--tokens writes one text on after --prompt; leave {word} out")


def out_of(kind: "Kind", options: Namespace, name: str) -> Path:
    """Where rows of this kind are saved, checked beforehand: --out, or ``name`` with the kind's suffix."""
    if options.out:
        kind.check_ending(Path(options.out))
    return out_path(options, kind.writers, otherwise=f"{name}{next(iter(kind.writers))}")


def prompt(options: Namespace) -> str:
    """What --prompt says, or what the file holds that it names."""
    words = options.prompt or ""
    try:
        path = path_of(words) if words and len(words) < LONGEST and Path(words).is_file() else None
    except (OSError, ValueError):  # no name of a file
        path = None
    if path is None:
        return words
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None


def started(options: Namespace, run: "Run", kind: "Kind") -> "FirstState":
    """Where drawing starts: --init-picture noised to --strength, the noise of a file, or new noise."""
    from undiffuse.run.invert import read_noise
    from undiffuse.run.start import PURE_NOISE, Noised

    with usage():
        if options.strength is not None and options.init_picture is None:
            raise UserError("--strength says how far --init-picture FILE is noised; give both")
        if options.noise is not None and options.init_picture is not None:
            raise UserError("give --init-picture or --noise, not both")
    if options.noise is not None:
        return read_noise(run, path_of(options.noise))
    if options.init_picture is None:
        return PURE_NOISE
    x = kind.rows(run, path_of(options.init_picture), options.fit)
    with usage():
        return Noised(x, STRENGTH if options.strength is None else options.strength)


def inverting(options: Namespace, run: "Run") -> "Sampling":
    """The options of sampling, for the sampler that can be taken back."""
    from dataclasses import replace

    from undiffuse.run.invert import SAMPLER

    with usage():
        if getattr(options, "sampler", None) not in (None, SAMPLER):
            raise UserError(f"what is in files is inverted by {SAMPLER}, not {options.sampler}; leave --sampler out")
    how = sampling(options, run)
    return replace(how, sampler=SAMPLER, steps=INVERTED if options.steps is None else how.steps)


def ends(
    options: Namespace, run: "Run", kind: "Kind", wanted: "Conditions | None", how: "Sampling"
) -> "tuple[Kept, dict[str, Tensor]]":
    """The noises between which samples are drawn, of --seeds or of what is in --files; and the vectors that the stages
    of the run would draw for the latter."""
    import torch

    from undiffuse.condition.conditions import Conditions
    from undiffuse.condition.specification import Vector
    from undiffuse.run.interpolate import noises
    from undiffuse.run.invert import invert
    from undiffuse.run.stages import read_off

    with usage():
        if bool(options.seeds) == bool(options.files):
            raise UserError("say between what: --seeds 1,2, or --files A.png,B.png")
    if options.seeds:
        return noises(run, options.seeds, how), {}
    x = torch.cat([kind.rows(run, path_of(file), options.fit) for file in options.files])
    told = {name: run.specifications[name].entry(rows) for name, rows in read_off(run, x).items()}  # type: ignore[union-attr]
    every = None if wanted is None else wanted[torch.zeros(len(x), dtype=torch.int64)]
    asked = Conditions({**every.entries, **told}) if every and told else every
    vectors = {name: entry.values for name, entry in told.items() if isinstance(run.specifications[name], Vector)}
    if len(vectors) < len(told):
        raise UserError(f"{run.folder}: enlarges pictures, which are not on the way from file to file; give --seeds")
    return invert(run, x, asked, how, options.refine), vectors


@usage()
def overridden(recipe: "Recipe", fields: Sequence[tuple[str, str]]) -> "Recipe":
    """A recipe with fields changed. Raises UserError for an unknown name, naming the nearest field or option of
    train."""
    known = [name.replace("_", "-") for name in recipe.names()] + ["out", "quiet", "help"]
    pairs = []
    for name, value in fields:
        if name.partition(".")[0].replace("_", "-") not in known:
            raise UserError(nearest(f"--{name}", [f"--{other}" for other in known], "option or field of the recipe"))
        if name == "data" and path_of(value).exists() and hasattr(recipe.data, "path"):
            pairs.append(("data.path", str(path_of(value).resolve())))
        else:
            pairs.append((name, value))
    return recipe.overrides(pairs)


def following(options: Namespace) -> "Following":
    """What is written beside a run while it is trained."""
    from undiffuse.train.following import Following

    return Following.asked(options.preview, options.tracker, options.profile)


def is_quiet(options: Namespace) -> bool:
    """Whether to show no progress: with --quiet, or if stderr is no terminal."""
    return options.quiet or not sys.stderr.isatty()
