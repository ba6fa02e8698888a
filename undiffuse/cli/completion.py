"""Completion by the Tab key: commands, options, recipes, and the fields of all recipes with their choices.

undiffuse completion bash > ~/.local/share/bash-completion/completions/undiffuse
undiffuse completion zsh  > ~/.zfunc/_undiffuse                 (a folder of $fpath)
undiffuse completion fish > ~/.config/fish/completions/undiffuse.fish
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shtab

from undiffuse.cli.absent import absent
from undiffuse.core.configuration import choices, leaves

Argument = tuple[tuple[str, ...], dict[str, Any]]
FILES = {"RUN": shtab.DIRECTORY, "DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "FILE.gif": shtab.FILE}  # by metavar


def script(commands: Mapping[str, tuple[Callable[..., None], Sequence[Argument]]], shell: str) -> str:
    """The completion script of these commands for a shell: bash, zsh or fish."""
    with absent():
        from undiffuse.recipes import RECIPES
        from undiffuse.run.tuned import TUNED
        from undiffuse.sampling.grid import GRIDS
        from undiffuse.sampling.samplers import SAMPLERS, TOKEN_SAMPLERS

        fields: dict[str, dict[str, None]] = {}
        for recipe in (make() for make in RECIPES.values()):
            for path, hint, _ in leaves(recipe):
                fields.setdefault(recipe.option_of(path), {}).update(dict.fromkeys(choices(hint)))
        words = {"--sampler": list(SAMPLERS | TOKEN_SAMPLERS), "--grid": [*GRIDS, TUNED], "RECIPE": list(RECIPES)}
    parser = argparse.ArgumentParser("undiffuse")
    inner = parser.add_subparsers()
    for name, (run, arguments) in commands.items():
        one = inner.add_parser(name, help=(run.__doc__ or "").splitlines()[0], add_help=False)
        for option in (("-h", "--help"), {"action": "store_true"}), *arguments:
            if not set(option[0]) & set(one._option_string_actions) - {"--FIELD"} and "--FIELD" not in option[0]:
                _add(one, *option, words)
        for field, known in fields.items() if name == "train" else ():
            if field not in one._option_string_actions:
                one.add_argument(field, choices=words.get(field) or list(known) or None)
    return shtab.complete(parser, shell)


def _add(parser: argparse.ArgumentParser, names: tuple[str, ...], options: dict[str, Any], words: Any) -> None:
    """Adds an option or an argument, with its choices."""
    metavar = options.get("metavar", "")
    known = words.get(names[0]) or (words["RECIPE"] if metavar.startswith("RECIPE") else None)
    action = parser.add_argument(*names, **options | ({"choices": [*known, *shtab.Optional.FILE]} if known else {}))
    if metavar in FILES:
        action.complete = FILES[metavar]  # type: ignore[attr-defined]
