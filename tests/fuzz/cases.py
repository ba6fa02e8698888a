"""Command lines and damaged files, each a function of (seed, number); the options are read off the commands' own help.

So a new command, or a new option, is tried from its first day.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from random import Random

from damage import ODD, damage, odd
from world import World

from undiffuse.cli import main

OPTION = re.compile(r"^  (?:-\w \S+, )?(--[\w-]+)(?: ([^ ]+))?", re.M)
FIELD = re.compile(r"^  (--[\w.-]+) ", re.M)
SMALL = {"-n": "3", "--count": "3", "--steps": "2", "--seeds": "1", "--samplers": "ddim"}  # to be done in no time
NUMBERS = (
    *("0", "1", "-1", "2", "3.5", "1e3", "nan", "inf", "-inf", "1e400", "1e18", "1_000", "", "0x10", "١٢", "½"),
    *("4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616", "-9223372036854775809"),
    *("1000000000", "99999999999999999999999", "1" * 5000, "1,2", "5,10", ",", "1,,2", "0.2,5", "5,0.2", "1e9,1e-9"),
)
NAMES = (
    *("ddim", "ddpm", "dpm++2m", "heun", "nothing", "karras", "trailing", "log-snr-uniform", "quadratic", "0", "none"),
    *("judge", "inception", "static", "dynamic", "train", "test", "all", "x=1", "colour=red", "size=2.5,colour=red"),
    *("side=left", "side=left,right,height=low", "colour=", "=", "a=b=c", 'size="1', "the c_t", "____", "_" * 5000),
)
OUT = (
    *("out.png", "out.npy", "out.npz", "out.csv", "out.tsv", "out.txt", "out.gif", "out.PNG", "no/out.png", "", "."),
    *("~nobody/x.png", "~undiffuse-nobody/x.npy", "..", "/proc/x.png", "x" * 300 + ".png", "\udcff.npy", "a\nb.npy"),
    *("\x1b[31m.csv", "[bold].npy", "out", "\x00.png", "out.jpg", " .png", "日本.csv"),
)
TARGETS = (
    *("moons", "moon", "swiss-roll", "hf:", "hf:nobody/nothing", "/", "/dev/null", "/dev/zero", "/proc", "..", "table"),
    *("/etc/passwd", "~nobody/x", "~undiffuse-nobody/x", "a\x1b[2Jb", "[bold]", "\udcff", "x" * 5000, "", "-", "--"),
)
JUDGED = ("pictures", "latent", "joint", "levels")  # runs that are evaluated by a judge, trained for a minute
LONG = ("--steps", "--codec.fit.steps")  # fields that make a training long, as they should


class Case:
    """One of them: what was done, and the words to say."""

    def __init__(self, words: list[str], done: str = "") -> None:
        self.words, self.done = words, done


def case(world: World, seed: int, number: int) -> Case:
    """The case of a number; what it damages is a copy, in the folder that is the present one."""
    random = Random(f"{seed}.{number}")
    kinds: tuple[tuple[Callable[[World, Random], Case], int], ...] = (
        (_words, 4),
        (_damaged_run, 8),
        (_damaged_data, 5),
        (_damaged_recipe, 2),
        (_training, 1),
    )
    make = random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
    return make(world, random)


def _words(world: World, random: Random) -> Case:
    """A command with absurd options."""
    name = random.choice([name for name in commands() if name not in ("train", "resume")])
    words = [name, *_operands(name, world, random)]
    known = options(name)
    chosen = {option: known[option] for option in random.sample(sorted(known), min(len(known), random.randrange(4)))}
    for option, given in SMALL.items():
        if option in known and option not in chosen and random.random() < 0.9:
            words += [option, given]
    for option, takes in chosen.items():
        words += [option, _value(option, takes, world, random)] if takes else [option]
    if "--out" in known and "--out" not in chosen:
        words += ["--out", random.choice(OUT[:7])]
    if random.random() < 0.02:
        words.insert(random.randrange(len(words) + 1), str(odd(random)))
    return Case([word.replace("\x00", "\\0") if random.random() < 0.9 else word for word in words])


def _damaged_run(world: World, random: Random) -> Case:
    """A run of which one file is damaged, asked for anything."""
    run = random.choice(sorted(world.runs.iterdir()))
    copy = Path("run")
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("tensorboard", "pictures"))
    weights = {"model.safetensors": 6, "recipe.yaml": 2, "log.jsonl": 0.3}
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    path = random.choices(files, [weights.get(file.name, 1) for file in files])[0]
    damage(path, random)
    if path.parts[1] == "state" or random.random() < 0.05:
        return Case(["resume", "run", "--quiet"], str(path))
    asked = ["sample", "sample", "sample", "likelihood", "animate", "impute", "write"]
    name = random.choice(asked if run.name in JUDGED else [*asked, "evaluate", "compare"])
    words = [name, *(["ab"] if name == "write" else []), "run"]
    words += [str(world.files / "holes.csv")] if name == "impute" else []
    known = options(name)
    for option, given in SMALL.items():
        words += [option, given] if option in known else []
    out = {"table": ".csv", "text": ".txt", "animate": ".gif", "write": ".png", "impute": ".csv"}
    ending = out.get(name) or out.get(run.name) or random.choice([".npy", ".npz", ".png"])
    words += ["--out", "made" if name == "compare" else f"made{ending}"] if "--out" in known else []
    if name == "sample" and random.random() < 0.2:
        words += random.choice([["--classifier", "run"], ["--worse", str(world.runs / "points")], ["--label", "0"]])
    return Case(words, f"{run.name} {path}")


def _damaged_data(world: World, random: Random) -> Case:
    """A file of data that is damaged, looked at."""
    files = sorted(path for path in world.files.rglob("*") if path.is_file())
    chosen = random.choice(
        [path for path in files if path.suffix in (".npy", ".csv", ".npz")] if random.random() < 0.5 else files
    )
    kept = chosen.relative_to(world.files)
    if len(kept.parts) > 1:
        shutil.copytree(world.files / kept.parts[0], kept.parts[0])
    else:
        shutil.copy(chosen, kept)
    damage(kept, random)
    target = kept.parts[0]
    if target == "autoencoder":
        words = ["train", str(world.files / "labelled"), "--codec", "{kind: Pretrained, path: autoencoder}"]
        return Case([*words, "--out", "made", "--steps", "1", "--quiet"], str(kept))
    if target == "tokenizer":
        return Case(["data", str(world.files / "rhyme.txt")], str(kept))
    if kept.name == "holes.csv":
        table = world.runs / "table"
        return Case(
            ["impute", str(table if table.exists() else world.files), str(kept), "--out", "made.csv"], str(kept)
        )
    if random.random() < 0.1:
        return Case(["train", target, "--steps", "1", "--batch", "4", "--out", "made", "--quiet"], str(kept))
    return Case(
        ["data", target, *(["--out", f"made{random.choice(['.csv', '.png', '.txt'])}"] * (random.random() < 0.2))],
        str(kept),
    )


def _damaged_recipe(world: World, random: Random) -> Case:
    """A recipe that is damaged, trained or asked about."""
    run = random.choice(sorted(world.runs.iterdir()))
    shutil.copy(run / "recipe.yaml", "recipe.yaml")
    damage(Path("recipe.yaml"), random)
    if random.random() < 0.3:
        return Case(["data", "recipe.yaml"], run.name)
    if random.random() < 0.3:
        return Case(["train", "--help", "recipe.yaml"], run.name)
    words = ["--steps", "1", *(["--batch", "4"] if random.random() < 0.8 else [])]
    return Case(["train", "recipe.yaml", *words, "--out", "made", "--quiet"], run.name)


def _training(world: World, random: Random) -> Case:
    """A training with absurd fields."""
    run = random.choice(sorted(world.runs.iterdir()))
    words = ["train", str(run / "recipe.yaml"), "--steps", "1", "--batch", "4", "--out", "made", "--quiet"]
    known = [field for field in fields(run / "recipe.yaml") if field not in LONG]
    for field in random.sample(known, random.choice([1, 1, 2])):
        words += [field, _value(field, "VALUE", world, random)]
    return Case(words)


def _operands(name: str, world: World, random: Random) -> list[str]:
    """The words that a command cannot do without, sometimes absurd."""
    runs = [str(path) for path in sorted(world.runs.iterdir())]
    if random.random() < 0.08:
        return [_target(world, random) for _ in range(random.randrange(3))]
    unjudged = [run for run in runs if Path(run).name not in JUDGED]
    written = random.choice(["ab", "", "\\n", "日本", "a" * 300, str(odd(random))])
    run, holes = random.choice(runs), random.choice([str(world.files / "holes.csv"), _target(world, random)])
    by_name = {"recipes": [], "data": [_target(world, random)], "impute": [run, holes], "write": [written, run]}
    by_name |= {name: [random.choice(unjudged)] for name in ("evaluate", "compare")}
    return by_name.get(name, [run])


def _target(world: World, random: Random) -> str:
    paths = [*world.runs.iterdir(), *world.files.iterdir()]
    return str(random.choice([*TARGETS, *sorted(map(str, paths))]))


def _value(option: str, takes: str, world: World, random: Random) -> str:
    """What is said after an option."""
    if takes.startswith("{") and random.random() < 0.7:
        return random.choice(takes.strip("{}").split(","))
    if option == "--out":
        return random.choice(OUT)
    if takes == "RUN":
        return random.choice([*map(str, sorted(world.runs.iterdir())), _target(world, random)])
    if random.random() < 0.15:
        return str(random.choice(ODD)).replace("\x00", "\\0")
    return random.choice(NUMBERS if takes in ("N", "W", "R", "A,B", "5,10") or random.random() < 0.5 else NAMES)


@cache
def commands() -> list[str]:
    """The names of all commands."""
    return re.findall(r"^  (\w+) ", _said("--help"), re.M)


@cache
def options(name: str) -> dict[str, str]:
    """The options of a command, and what each takes: "" of those that take nothing."""
    said = _said(name, "--help").partition("options:")[2]
    return {option: takes for option, takes in OPTION.findall(said) if option not in ("--help", "--FIELD")}


@cache
def fields(recipe: Path) -> list[str]:
    """The fields of a recipe, as options."""
    return FIELD.findall(_said("train", "--help", str(recipe)).partition("the fields of")[2])


def _said(*words: str) -> str:
    out = StringIO()
    with redirect_stdout(out):
        main(list(words))
    return out.getvalue()
