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
from collections import defaultdict
from itertools import islice
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> int:
    """Mutates, runs, prints."""
    sys.path[:0] = [str(ROOT)]
    from making import Mutant, mutants_of
    from rich.console import Console
    from running import measured, prepare, survives

    told = tomllib.loads((HERE / "mutants.toml").read_text())
    args = _arguments(told)
    places = [Path(place) for place in told["core"]] if args.core else args.files or _changed()
    tests = {file: asked for file in _files(places) if (asked := _tests(file, told["core"] | told["others"]))}
    console = Console(highlight=False)
    if not tests:
        console.print("no file that has tests in tests/mutants/mutants.toml differs from the main branch")
        return 0
    survivors = tomllib.loads((HERE / "survivors.toml").read_text())["same"]
    known = {(entry["file"], *map(_bare, (entry["before"], entry["after"]))) for entry in survivors}
    prepare()
    score = defaultdict(lambda: [0, 0, 0])  # killed, survived, equivalent by file
    for path, asked in tests.items():
        suite = measured(asked)
        same = Mutant(path, range(1, 10**9), path.read_text())
        if not survives(same, suite.asked(same, 5), 600)[0]:
            raise RuntimeError(f"tests of {path} that pass by themselves fail in a fork; no mutant would say anything")
        for mutant in islice(mutants_of(path, args.seed), args.sample):
            if (path.name, *map(_bare, mutant.change)) in known:
                score[path][2] += 1
                continue
            chosen = suite.asked(mutant, told["seconds"])
            alone = sum(suite.seconds[test] for test in chosen)
            alive, failed = survives(mutant, chosen, 20 + 5 * alone) if chosen else (True, "")
            suite.kills[failed] += 1
            score[path][alive] += 1
            if alive:
                before, after = mutant.change
                console.print(f"survived  {path}:{mutant.lines[0]}   ({len(chosen)} tests)", markup=False)
                console.print(f"    - {before}\n    + {after}", markup=False, soft_wrap=True)
        killed, survived, same = score[path]
        console.print(f"{path}: {killed} killed, {survived} survived, {same} equivalent", markup=False)
    return _table(console, score, told["killed"])


def _bare(code: str) -> str:
    return "".join(code.split())


def _table(console, score, least: float) -> int:
    from rich.table import Table

    table = Table("file", "killed", "survived", "equivalent", "share")
    killed, survived, same = map(sum, zip(*score.values(), strict=True))
    for name, (dead, alive, equal) in [*score.items(), ("all", (killed, survived, same))]:
        share = f"{dead / (dead + alive):.0%}" if dead + alive else "-"
        table.add_row(str(name), str(dead), str(alive), str(equal), share)
    console.print(table)
    return int(killed < least * (killed + survived))


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
