"""Mutants: one change each to a file's code, not to its types or documentation."""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from operators import OPERATORS


@dataclass(frozen=True)
class Mutant:
    """One change to a file."""

    path: Path
    lines: range  # of the statement that it changes, from 1
    code: str  # the whole file, changed

    @cached_property
    def change(self) -> tuple[str, str]:
        """The changed lines, before and after."""
        old, new = self.path.read_text().splitlines(), self.code.splitlines()
        same = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(new))
        pairs = zip(reversed(old[same:]), reversed(new[same:]), strict=False)
        tail = next((i for i, pair in enumerate(pairs) if pair[0] != pair[1]), 0)
        return _joined(old[same : len(old) - tail]), _joined(new[same : len(new) - tail])


def mutants_of(path: Path, seed: int = 0) -> Iterator[Mutant]:
    """Every mutant of a file, each once, shuffled: the same for the same code, whatever else there is."""
    source = path.read_text()
    tree, nodes = ast.parse(source), list(ast_nodes(parso.parse(source)))
    silent, statements = list(_silent(tree)), list(_statements(tree))
    places = [
        (kind(), occurrence, place)
        for kind in OPERATORS
        for occurrence, place in enumerate(place for node in nodes for place in kind().mutation_positions(node))
    ]
    random.Random(f"{seed} {path.name}").shuffle(places)
    seen = {ast.dump(tree)}
    for operator, occurrence, (start, stop) in places:
        if any(low <= start and stop <= high for low, high in silent):
            continue
        code = mutate_code(source, operator, occurrence)
        what = _dumped(code)
        if what and what not in seen:
            seen.add(what)
            lines = min((lines for lines in statements if start[0] in lines), key=len)
            yield Mutant(path, lines, code)


def _dumped(code: str | None) -> str | None:
    try:
        return ast.dump(ast.parse(code)) if code is not None else None
    except SyntaxError:
        return None


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _silent(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where nothing happens: annotations, imports, decorators, what an error says."""
    for node in ast.walk(tree):
        yield from map(_extent, getattr(node, "decorator_list", ()))
        match node:
            case ast.arg(annotation=ast.expr() as quiet) | ast.AnnAssign(annotation=quiet):
                yield _extent(quiet)
            case ast.FunctionDef(returns=ast.expr() as quiet):
                yield _extent(quiet)
            case ast.Raise(exc=ast.Call(args=args)):
                yield from map(_extent, args)
            case ast.Import() | ast.ImportFrom():
                yield _extent(node)


def _statements(tree: ast.Module) -> Iterator[range]:
    """The lines of each statement; of a compound one, those before its body."""
    yield range(1, 10**9)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            yield range(node.lineno, max(body[0].lineno, node.lineno + 1) if body else node.end_lineno + 1)


def _extent(node: ast.expr | ast.stmt) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
