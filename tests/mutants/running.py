"""Tests over changed code, each run in a fork of a process that has imported everything but the project.

What took a second of imports takes a millisecond; and a mutant that hangs, or takes the process with it, harms nobody.
"""

import contextlib
import hashlib
import importlib
import importlib.machinery
import json
import math
import os
import pickle
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

import coverage
import pytest
import torch
from hypothesis import Phase, settings
from making import Mutant

KEPT = Path("build/mutants")
QUIET = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=mutants"]


@dataclass
class Suite:
    """Which tests cover which lines, and how long each takes on the code as it is."""

    seconds: dict[str, float]  # by test
    lines: dict[str, dict[int, list[str]]]  # tests by line, by file
    kills: Counter[str] = field(default_factory=Counter)  # those that killed before are asked first

    def asked(self, mutant: Mutant, limit: float) -> list[str]:
        """The tests of a mutant, the likeliest and quickest first, ``limit`` seconds of them at most."""
        by_line = self.lines.get(str(mutant.path), {})
        seen = [tests for line, tests in by_line.items() if line in mutant.lines]
        tests = {test for tests in seen for test in tests} - {""}
        if seen and not tests:  # done once, on import: anyone may notice, by what a dataclass makes of it too
            tests = set(self.seconds)
        chosen, spent = [], 0.0
        for test in sorted(tests, key=lambda test: (-self.kills[test], self.seconds[test])):
            spent += self.seconds[test]
            if chosen and spent > limit:
                break
            chosen.append(test)
        return chosen


class Watch:
    """Pytest's plugin of the first run: a coverage context a test, and how long it took."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured, self.seconds = measured, {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        """Around one test."""
        self.measured.switch_context(item.nodeid)
        start = time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - start
        self.measured.switch_context("")


class Chosen:
    """Pytest's plugin of the others: these tests, in this order. It remembers which failed."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.place, self.failed = {test: i for i, test in enumerate(tests)}, ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Of all that was found."""
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first is the last."""
        if report.failed:
            self.failed = report.nodeid


def prepare() -> None:
    """Before the first fork: no threads, no shrinking of what fails."""
    torch.set_num_threads(1)
    settings.register_profile(
        "mutants", deadline=None, derandomize=True, max_examples=60, phases=(Phase.explicit, Phase.generate)
    )


def measured(files: Sequence[Path]) -> Suite:
    """The tests in these files over the code as it is. Raises `RuntimeError` where one fails."""
    suite = Suite({}, {})
    for file in files:
        found = _known(file) or _watched(file)
        for module in found["modules"]:
            with contextlib.suppress(ImportError):  # parts of what cannot be imported by name
                importlib.import_module(module)
        suite.seconds |= found["seconds"]
        for path, by_line in found["lines"].items():
            mine = suite.lines.setdefault(path, {})
            for line, tests in by_line.items():
                mine.setdefault(int(line), []).extend(tests)
    return suite


def _known(file: Path) -> dict | None:
    """What is kept of an earlier run, if nothing that it imported has changed since."""
    kept = KEPT / f"{file.stem}.json"
    found = json.loads(kept.read_text()) if kept.exists() else None
    return found if found and all(_digest(Path(path)) == said for path, said in found["digests"].items()) else None


def _watched(file: Path) -> dict:
    KEPT.mkdir(parents=True, exist_ok=True)
    code, _ = forked(lambda: (_watch(file), ""))
    if code:
        raise RuntimeError(f"{file} fails on the code as it is; see python -m pytest {file}")
    return json.loads((KEPT / f"{file.stem}.json").read_text())


def _watch(file: Path) -> int:
    """One file of tests under coverage."""
    before, here = set(sys.modules), Path.cwd()
    measured = coverage.Coverage(data_file=None, include=["undiffuse/*"])
    measured.start()
    watch = Watch(measured)
    code = int(pytest.main([*QUIET, str(file)], plugins=[watch]))
    measured.stop()
    if code:
        return code
    data = measured.get_data()
    lines = {str(Path(path).relative_to(here)): data.contexts_by_lineno(path) for path in data.measured_files()}
    origins = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    ours = [Path(origin).relative_to(here) for origin in origins.values() if origin.startswith(f"{here}/")]
    ours = [path for path in ours if path.parts[0] in ("undiffuse", "tests")]
    modules = sorted(name for name in origins.keys() - before if f"{here}/" not in origins[name])
    digests = {str(path): _digest(path) for path in ours}
    found = {"seconds": watch.seconds, "lines": lines, "modules": modules, "digests": digests}
    (KEPT / f"{file.stem}.json").write_text(json.dumps(found))
    return 0


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def survives(mutant: Mutant, tests: Sequence[str], limit: float) -> tuple[bool, str]:
    """Whether the tests pass over it, else the test that failed, or what else became of it."""

    def run() -> tuple[int, str]:
        _replace(mutant)
        chosen = Chosen(tests)
        files = list(dict.fromkeys(test.split("::")[0] for test in tests))
        code = int(pytest.main([*QUIET, *files], plugins=[chosen]))
        return code, chosen.failed

    code, failed = forked(run, limit)
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"the tests of {mutant.path} could not be run: {tests[0]}, ...")
    return code == 0, failed


def forked(run: Callable[[], tuple[int, str]], limit: float = math.inf) -> tuple[int, str]:
    """What ``run`` returned in another process, silently, within ``limit`` seconds of computing."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        if limit < math.inf:
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
            resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33))
            signal.alarm(int(20 * limit))  # should it wait for ever; machines are shared
        answer = (3, "")
        try:
            answer = run()
        finally:
            os.write(send, pickle.dumps(answer))
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(said) if said else (-1, "its limit")


def _replace(mutant: Mutant) -> None:
    """Whoever imports the file from now on gets the mutant."""
    plain, path = importlib.machinery.SourceFileLoader.get_code, str(mutant.path.resolve())

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType:
        return compile(mutant.code, path, "exec") if self.path == path else plain(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code
