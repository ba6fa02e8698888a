"""The command line: from arguments to a call of one of the commands, and from an error to one line.

Exit codes: 0 done; 1 it failed; 2 wrong arguments; 130 interrupted. Results go to stdout, progress and errors to
stderr. Nothing heavy is imported until a command runs, so ``--help`` answers at once.

Each command is a few calls that Python can make as briefly, and a line on what came of them. It is given the words that
this file has read; whatever it needs, it imports when it runs.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from undiffuse.cli import looking
from undiffuse.cli.grammar import COMMANDS
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
    fields = looking.fields(options.target)
    print(parser.format_help())
    say(fields)
