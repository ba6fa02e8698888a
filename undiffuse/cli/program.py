"""The command line: from arguments to a call of `undiffuse.cli.commands`, and from an error to one line.

Exit codes: 0 done; 1 it failed; 2 wrong arguments; 130 interrupted. Results go to stdout, progress and errors to
stderr. Nothing heavy is imported until a command runs, so ``--help`` answers at once.
"""

import argparse
import csv
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from undiffuse.cli import commands
from undiffuse.cli.speech import complain, say, warnings_as_notes
from undiffuse.core import parallel
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.origin import recording

DEBUG = "UNDIFFUSE_DEBUG"
OUT_OF_MEMORY = re.compile("out of memory|DefaultCPUAllocator")  # in torch's messages, on a GPU and on a CPU
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SAMPLING = ("sample", "evaluate")  # the commands that several processes share


class Usage(Exception):
    """Wrong arguments, in one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings_as_notes():
            _run(words)
        sys.stdout.flush()
    except SystemExit as done:  # argparse, after --help
        return int(done.code or DONE)
    except BaseException as error:
        if os.environ.get(DEBUG):
            raise
        code, message = _explained(error)
        if message:
            complain(message)
        return code
    return DONE


def _run(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("undiffuse"))
        return
    name, *words = words
    if name not in COMMANDS:
        raise Usage(nearest(name, COMMANDS, "command" if not name.startswith("-") else "command or option"))
    parser = command_parser(name)
    takes_fields = any("--FIELD" in names for names, _ in COMMANDS[name][1])
    plain, fields = _split_fields(name, words) if takes_fields else (words, [])
    options = parser.parse_args(plain)
    if name == "train" and (options.help or options.target is None):
        _help_train(parser, options)
        return
    if name in SAMPLING and parallel.launched():
        _as_one(name, options)
        return
    with recording(shlex.join(["undiffuse", name, *words])):
        COMMANDS[name][0](options, *([fields] if takes_fields else []))


def _as_one(name: str, options: argparse.Namespace) -> None:
    """A command that samples, in several processes: all run it, only the main one prints and writes."""
    with parallel.as_one() as main_one:
        if not main_one and getattr(options, "out", None):
            options.out, options.force = str(parallel.elsewhere(Path(options.out))), True
        COMMANDS[name][0](options)


def _explained(error: BaseException) -> tuple[int, str]:
    """An exit code, and one line for the user."""
    code, message = FAILED, f"{type(error).__name__}: {error} (set {DEBUG}=1 to see where)"
    match error:
        case Usage():
            code, message = USAGE, str(error)
        case UserError():
            code, message = USAGE if error.usage else FAILED, str(error)
        case KeyboardInterrupt():
            code, message = INTERRUPTED, str(error) or "interrupted"
        case BrokenPipeError():  # the reader has closed the pipe, as in `undiffuse recipes | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            message = ""
        case OSError():
            message = (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error))
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
            message = f"out of memory; ask for less: fewer samples at once, a smaller batch or network ({error})"
    return code, message


# ---------------------------------------------------------------------------------------------- the words


Argument = tuple[tuple[str, ...], dict[str, Any]]


def _arg(*words: str, **options: Any) -> Argument:
    return words, options


def _list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _whole(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}") from None


def _wholes(text: str) -> list[int]:
    return [_whole(word) for word in _list(text)]


def _label(text: str) -> list[str] | dict[str, list[str]]:
    """Labels by name; see `undiffuse.condition.read.words`."""
    from undiffuse.condition.read import words

    try:
        return words(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _conditions(text: str) -> dict[str, list[str]]:
    """``age=30,40,species=cat``: a word without = belongs to the condition before it."""
    found = _label(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, as age=30, not {text!r}")
    return found


def _columns(text: str) -> dict[str, str]:
    """``education=Bachelors,age=30``; a value with a comma is quoted, ``city="New York, NY"``, or the pair is."""
    found = {}
    for word in next(csv.reader([re.sub(r'(^|,)([^",=]*)="', r'\1"\2=', text)], skipinitialspace=True), []):
        name, equals, value = word.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(
                f'expected COLUMN=VALUE, as age=30, not {word!r}; a value with a comma is quoted: city="New York, NY"'
            )
        found[name.strip()] = value.strip()
    return found


def _levels(text: str) -> tuple[float, float]:
    words = _list(text)
    if len(words) != 2:
        raise argparse.ArgumentTypeError(f"expected two noise levels, as 0.2,5, not {text!r}")
    return _number(words[0]), _number(words[1])


def _scales(text: str) -> tuple[float, ...]:
    words = _list(text)
    if not 1 <= len(words) <= 2:
        raise argparse.ArgumentTypeError(f"expected a scale, as 2, or a range, as 1,4, not {text!r}")
    return tuple(map(_number, words))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}") from None


_RUN = _arg("folder", metavar="RUN", help="the folder of a training")
_COUNT = _arg("-n", "--count", type=_whole, metavar="N", help="how many")
_SEED = _arg("--seed", type=_whole, default=0, metavar="N", help="the same seed gives the same result (0)")
_QUIET = _arg("--quiet", action="store_true", help="no progress")
_JSON = _arg("--json", action="store_true", help="one JSON object on stdout, nothing else")
_FORCE = _arg("--force", action="store_true", help="overwrite what is there")
_GUIDING = (
    _arg("--guidance", type=_number, metavar="W", help="guidance scale, 1 is off (the recipe's)"),
    _arg("--negative", metavar="K", help="negative label: guide away from it (none)"),
    _arg("--rescale", type=_number, metavar="R", help="from 0 to 1: rescale guided samples to the unguided spread (0)"),
    _arg("--interval", type=_levels, metavar="A,B", help="guide only between these noise levels, sigma/alpha (all)"),
    _arg("--threshold", choices=("static", "dynamic"), help="keep pictures within black and white (no)"),
    _arg("--classifier", metavar="RUN", help="guide by this classifier, trained with --loss cross-entropy"),
    _arg("--worse", metavar="RUN", help="autoguidance: guide away from this run, which is smaller or less trained"),
)
_STEPPING = (
    _arg("--sampler", metavar="NAME", help="the sampler (the recipe's)"),
    _arg("--steps", type=_whole, metavar="N", help="the number of steps (the recipe's)"),
    _arg("--grid", metavar="NAME", help="the grid of times (the sampler's)"),
)
_SAMPLING = (
    *_STEPPING,
    _arg(
        "--label",
        type=_label,
        metavar="K",
        help="labels by name or number, several in turn: 3,5 or digit=3,5,colour=red",
    ),
    _arg("--cond", type=_conditions, metavar="A=X,B=Y", help="conditions by name, several values in turn: age=30,40"),
    *_GUIDING,
)


_FIT = _arg("--fit", action="store_true", help="scale, crop and turn grey pictures of another size or colour")
_REFINE = _arg(
    "--refine", type=_whole, default=0, metavar="N", help="of an inversion: iterations that improve a step (0)"
)
_TOLD = (
    _arg(
        "--given",
        type=_columns,
        metavar="A=X,B=Y",
        help="of tables and points: the known values of these columns",
    ),
    _arg("--prompt", metavar="TEXT", help="of text: the known text, with _ for each unknown token"),
    _arg("--hole", default="_", metavar="C", help="the sign for an unknown token (_)"),
    _arg("--known", metavar="FILE", help="partly known data: the rest (empty cells, NaN, --mask) is drawn"),
    _arg("--mask", metavar="FILE", help="of pictures: white where --known is unknown"),
    _arg("--init-picture", metavar="FILE", help="start from this picture, or from rows of a file, noised so far:"),
    _arg("--strength", type=_number, metavar="S", help="the share of noise, from 0 (the picture) to 1 (0.6)"),
    _arg("--noise", metavar="FILE.npz", help="start from the noise that undiffuse invert wrote"),
    _FIT,
)


def completion(options: argparse.Namespace) -> None:
    """Print a completion script for your shell: commands, options, recipes and their fields."""
    from undiffuse.cli.completion import script

    print(script(COMMANDS, options.shell))


COMMANDS: dict[str, tuple[Callable[..., None], tuple[Argument, ...]]] = {
    "recipes": (commands.recipes, ()),
    "data": (
        commands.data,
        (
            _arg("target", metavar="RECIPE|RUN|DATA"),
            _COUNT,
            _arg("--split", default="train", choices=("train", "test", "all"), help="which part (train)"),
            _SEED,
            _arg("--out", metavar="FILE", help="draw or save some: .png, .npy, .npz, .csv, .tsv or .txt"),
            _FORCE,
        ),
    ),
    "train": (
        commands.train,
        (
            _arg("target", nargs="?", metavar="RECIPE|FILE|FOLDER", help="a recipe's name or file, or your own data"),
            _arg("--target", dest="end", metavar="B", help="a bridge to this data from the first; noise is N(0, I)"),
            _arg("--method", metavar="NAME", help="of a bridge: flow, optimal-transport, schroedinger, ... (flow)"),
            _arg("--init", metavar="RUN", help="go on from another run's weights, on this data (fine-tuning)"),
            _arg("--out", metavar="RUN", help="the folder of this training (runs/NAME)"),
            _QUIET,
            _arg("--FIELD", metavar="VALUE", help="any field of the recipe: --steps 5000 --batch 64"),
            _arg("-h", "--help", action="store_true", help="show this help, and the recipe's fields with their values"),
        ),
    ),
    "distill": (
        commands.distill,
        (
            _RUN,
            _arg(
                "--method", required=True, metavar="NAME", help="how it is taught: a name that is not known lists all"
            ),
            _arg("--guidance", type=_scales, metavar="W|A,B", help="the teacher's scale; A,B: any, as a condition"),
            _arg("--evaluations", type=_whole, metavar="N", help="of the network, for a sample (1)"),
            _arg("--out", required=True, metavar="FAST", help="the folder of the student"),
            _QUIET,
            _arg("--FIELD", metavar="VALUE", help="any field of the student's recipe: --steps 5000 --lr 1e-3"),
        ),
    ),
    "resume": (
        commands.resume,
        (
            _RUN,
            _arg("--steps", type=_whole, metavar="N", help="in all: longer than was asked for (the recipe's)"),
            _arg("--minutes", type=_number, metavar="M", help="for so much longer, instead of --steps"),
            _QUIET,
        ),
    ),
    "sample": (
        commands.sample,
        (
            _RUN,
            _COUNT,
            *_SAMPLING,
            *_TOLD,
            _SEED,
            _arg(
                "--out",
                metavar="FILE",
                help=".png, .npy, .npz, .csv, .tsv, .txt or .gif (samples.png, of tables .csv, of text .txt)",
            ),
            _FORCE,
        ),
    ),
    "invert": (
        commands.invert,
        (
            _RUN,
            _arg("rows", metavar="FILE", help="a picture, or pictures, points or series as .npy"),
            *(option for option in _SAMPLING if option[0] != ("--sampler",)),
            _REFINE,
            _FIT,
            _SEED,
            _arg("--out", metavar="FILE.npz", help="the noise (noise.npz)"),
            _FORCE,
        ),
    ),
    "interpolate": (
        commands.interpolate,
        (
            _RUN,
            _arg("--seeds", type=_wholes, metavar="1,2", help="between the first samples of these seeds"),
            _arg("--files", type=_list, metavar="A,B", help="between the pictures of these files, which are inverted"),
            _arg("-n", "--count", type=_whole, metavar="N", help="how many, the ends included (16)"),
            *_SAMPLING,
            _REFINE,
            _FIT,
            _SEED,
            _arg("--out", metavar="FILE", help=".png, .gif, or as samples are saved (between.png)"),
            _FORCE,
        ),
    ),
    "evaluate": (
        commands.evaluate,
        (
            _RUN,
            _COUNT,
            _SEED,
            *_STEPPING,
            *_GUIDING,
            _arg(
                "--features",
                default="judge",
                choices=("judge", "inception"),
                help="whose features measure pictures (judge)",
            ),
            _arg("--target", metavar="COLUMN", help="of tables: the column to predict (last category)"),
            _JSON,
        ),
    ),
    "likelihood": (
        commands.likelihood,
        (
            _RUN,
            _arg("-n", "--count", type=_whole, metavar="N", help="how many rows of the data (as many as take seconds)"),
            _SEED,
            _arg("--split", default="test", choices=("test", "train"), help="which part of the data (test)"),
            _arg("--steps", type=_whole, metavar="N", help="the bound on N steps (infinitely many)"),
            _arg("--flow", action="store_true", help="numbers only: by the probability flow instead of the bound"),
            _arg("--exact", action="store_true", help="by the flow with the exact divergence: slow for pictures"),
            _JSON,
        ),
    ),
    "translate": (
        commands.translate,
        (
            _RUN,
            _arg("rows", metavar="FILE", help="data of the kind that the bridge starts from: .npy, .csv, a picture"),
            _arg("--back", action="store_true", help="from the data that it makes to the data that it starts from"),
            *_STEPPING,
            _SEED,
            _arg("--out", metavar="FILE", help="(translated, as samples are saved)"),
            _FORCE,
        ),
    ),
    "impute": (
        commands.impute,
        (
            _RUN,
            _arg(
                "holes",
                metavar="FILE",
                help="data with missing cells or columns, as for sample --known",
            ),
            *_STEPPING,
            _SEED,
            _arg("--out", metavar="FILE", help="the filled data (filled.csv, or as for sample)"),
            _FORCE,
        ),
    ),
    "compare": (
        commands.compare,
        (
            _RUN,
            _arg("--samplers", type=_list, metavar="A,B,C", help="ddim,gradient-estimation,dpm++2m, or others"),
            _arg(
                "--with", dest="beside", type=_list, default=[], metavar="A,B", help="other runs, such as its students"
            ),
            _arg("--steps", type=_wholes, metavar="5,10", help="network evaluations for each sample (5,10,20,50)"),
            _arg("--seeds", type=_whole, default=3, metavar="N", help="how many seeds, for error bars (3)"),
            _COUNT,
            *_GUIDING,
            _arg("--out", metavar="DIR", help="a folder for a plot and the numbers"),
            _FORCE,
        ),
    ),
    "tune": (
        commands.tune,
        (
            _RUN,
            _arg("--evaluations", type=_wholes, default=[5, 10], metavar="5,10", help="of the network (5,10)"),
            _arg("--sampler", metavar="NAME", help="tune the grid of this one alone (all, of the best)"),
            _arg("--noises", type=_whole, metavar="N", help="to fit, and as many to choose and report (by size)"),
            _arg("--rounds", type=_whole, default=15, metavar="N", help="of improvement, at most (15)"),
            _arg("--guidance", type=_number, metavar="W", help="how strongly, 1 is off (the recipe's)"),
            _SEED,
            _JSON,
        ),
    ),
    "write": (
        commands.write,
        (
            _arg("text", metavar="TEXT", help='what to write; "\\n" begins a new line'),
            _RUN,
            *(option for option in _SAMPLING if not {"--label", "--cond"} & set(option[0])),
            _arg("--columns", type=_whole, default=16, metavar="N", help="characters in a line (16)"),
            _SEED,
            _arg("--out", metavar="FILE", help=".gif or .png (letters.gif)"),
            _FORCE,
        ),
    ),
    "animate": (
        commands.animate,
        (
            _RUN,
            _COUNT,
            *_SAMPLING,
            *_TOLD,
            _SEED,
            _arg("--out", metavar="FILE.gif", help="the film (undiffuse.gif)"),
            _FORCE,
        ),
    ),
    "completion": (
        completion,
        (_arg("shell", choices=("bash", "zsh", "fish"), help="the shell: undiffuse completion bash"),),
    ),
}


class Parser(argparse.ArgumentParser):
    """Argparse that names the nearest options to an unknown one, and leaves exiting to `main`."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; raises Usage for unknown arguments."""
        options, (*left,) = self.parse_known_args(args, namespace)
        if not left:
            return options
        if not left[0].startswith("-"):
            self.error(f"unexpected {left[0]!r}")
        known = [word for word in self._option_string_actions if word.startswith("--")]
        raise Usage(f"{self.prog.split()[-1]}: {nearest(left[0].split('=')[0], known, 'option')}")

    def error(self, message: str) -> NoReturn:
        """One line, which names the help."""
        raise Usage(f"{message}; see: {self.prog} --help")


def command_parser(name: str) -> Parser:
    """The parser of one command."""
    run, arguments = COMMANDS[name]
    own_help = any("--help" in words for words, _ in arguments)
    parser = Parser(prog=f"undiffuse {name}", description=run.__doc__, allow_abbrev=False, add_help=not own_help)
    for words, options in arguments:
        parser.add_argument(*words, **options)
    return parser


def _overview() -> str:
    """All commands, one line for each."""
    lines = [f"  {name:11} {_summary(run)}" for name, (run, _) in COMMANDS.items()]
    return "\n".join(
        [
            "undiffuse: train diffusion models, sample, measure and understand them",
            "",
            "usage: undiffuse COMMAND ...    (undiffuse COMMAND --help says more)",
            "",
            *lines,
        ]
    )


def _summary(run: Callable[..., None]) -> str:
    return (run.__doc__ or "").splitlines()[0].removesuffix(".")


def _split_fields(command: str, words: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The arguments of a command without the recipe's fields, and the fields: ``--name value`` or ``--name=value``."""
    own = {name: "action" not in how for names, how in COMMANDS[command][1] for name in names if name != "--FIELD"}
    own["--help"] = False
    rest: list[str] = []
    fields: list[tuple[str, str]] = []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name in own or not word.startswith("--"):
            rest += [word, *islice(left, own.get(word, False))]
            continue
        given = value if equals else next(left, None)
        if given is None or (given.startswith("--") and not equals):
            raise Usage(f"{command}: {name} needs a value: {name} VALUE")
        fields.append((name.removeprefix("--"), given))
    return rest, fields


def _help_train(parser: Parser, options: argparse.Namespace) -> None:
    """The help of ``train``, and the fields of the recipe."""
    if not options.help:
        parser.error("nothing to train: give a RECIPE, a FILE or a FOLDER")
    fields = commands.fields(options.target)
    print(parser.format_help())
    say(fields)
