"""How many changes to the code do the tests notice?

    python tests/mutants/mutate.py              of the files that differ from the main branch
    python tests/mutants/mutate.py FILE ...     of these
    python tests/mutants/mutate.py --core       of the core, sampled

A mutant is the code with one small change: a sign, a bound, a clamp left out. The tests that cover the changed line
run over it; where none fails, either a law is missing, or the change changes nothing, which `survivors.toml` then
says with its reason. Ends with 1 if fewer than the share in `mutants.toml` are noticed.
"""

import argparse
import subprocess
import sys
import tomllib
from collections import Counter
from itertools import islice
from pathlib import Path

from making import Mutant, mutants_of
from rich.console import Console
from rich.table import Table
from running import Suite, measured, prepare, survives

HERE = Path(__file__).parent
sys.path.insert(1, str(HERE.parents[1]))  # this checkout, whatever is installed
CONSOLE = Console(highlight=False)
NAMES = ("killed", "survived", "equivalent")


def main() -> int:
    """Mutates, runs, prints."""
    told = tomllib.loads((HERE / "mutants.toml").read_text())
    args = _arguments(told)
    places = [Path(place) for place in told["core"]] if args.core else args.files or _changed()
    tests = {file: _tests(file, told["core"] | told["others"]) for file in _files(places)}
    for file in [file for file, asked in tests.items() if not asked]:
        CONSOLE.print(f"{file}: left alone, as tests/mutants/mutants.toml names no tests of it", markup=False)
        del tests[file]
    survivors = tomllib.loads((HERE / "survivors.toml").read_text())["same"]
    known = {(entry["file"], *map(_bare, (entry["before"], entry["after"]))) for entry in survivors}
    prepare()
    scores = {}
    for path, asked in tests.items():
        score = scores[path] = Counter()
        suite = _suite(path, asked)
        for mutant in islice(mutants_of(path, args.seed), args.sample):
            same = (path.name, *map(_bare, mutant.change)) in known
            score["equivalent" if same else _became(mutant, suite, told["seconds"])] += 1
        CONSOLE.print(f"{path}: {', '.join(f'{score[name]} {name}' for name in NAMES)}", markup=False)
    return _table(scores, told["killed"])


def _suite(path: Path, asked: list[Path]) -> Suite:
    """The tests of a file, which must pass over the file as it is in a fork too, or every mutant would seem killed."""
    suite = measured(asked)
    same = Mutant(path, range(1, 10**9), path.read_text())
    chosen = suite.asked(same, 5)  # none, if no test sees the file
    if chosen and not survives(same, chosen, 600)[0]:
        raise RuntimeError(f"tests of {path} that pass by themselves fail in a fork; no mutant would say anything")
    return suite


def _became(mutant: Mutant, suite: Suite, seconds: float) -> str:
    """Killed or survived; a survivor is shown."""
    chosen = suite.asked(mutant, seconds)
    alone = sum(suite.seconds[test] for test in chosen)
    alive, failed = survives(mutant, chosen, 20 + 5 * alone) if chosen else (True, "")
    suite.kills[failed] += 1
    if not alive:
        return "killed"
    before, after = mutant.change
    CONSOLE.print(f"survived  {mutant.path}:{mutant.lines[0]}   ({len(chosen)} tests)", markup=False)
    CONSOLE.print(f"    - {before}\n    + {after}", markup=False, soft_wrap=True)
    return "survived"


def _bare(code: str) -> str:
    return "".join(code.split())


def _table(scores: dict[Path, Counter[str]], least: float) -> int:
    """Prints it; 1 if too few were killed."""
    table = Table("file", *NAMES, "share")
    every = sum(scores.values(), Counter())
    for name, score in [*scores.items(), ("all", every)]:
        tried = score["killed"] + score["survived"]
        table.add_row(
            str(name), *(str(score[kind]) for kind in NAMES), f"{score['killed'] / tried:.0%}" if tried else "-"
        )
    CONSOLE.print(table)
    return int(every["killed"] < least * (every["killed"] + every["survived"]))


def _arguments(told: dict) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--core", action="store_true", help="the core, sampled")
    parser.add_argument("--sample", type=int, default=told["sample"], help="mutants a file (%(default)s)")
    parser.add_argument("--seed", type=int, default=told["seed"], help="of the sample (%(default)s)")
    return parser.parse_args()


def _files(places: list[Path]) -> list[Path]:
    return sorted({file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])})


def _tests(file: Path, tests: dict[str, list[str]]) -> list[Path]:
    """The files of the tests of a file."""
    owners = [owner for owner in tests if file.is_relative_to(owner)]
    places = map(Path, tests[max(owners, key=len)] if owners else [])
    return [test for place in places for test in (sorted(place.glob("test_*.py")) if place.is_dir() else [place])]


def _changed() -> list[Path]:
    """Files that differ from where this branch left the main one, committed or not."""

    def git(*words: str) -> list[str]:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.splitlines()

    main = next((name for name in ("main", "origin/main") if git("branch", "-a", "--list", f"*{name}")), "HEAD")
    (base,) = git("merge-base", "HEAD", main)
    names = [*git("diff", "--name-only", "--diff-filter=d", base), *git("ls-files", "--others", "--exclude-standard")]
    return [Path(name) for name in names if name.startswith("undiffuse/") and name.endswith(".py")]


if __name__ == "__main__":
    sys.exit(main())
