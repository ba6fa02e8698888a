"""What a check finds, and what all of them together say.

A check is a function from what it examines to a list of findings. Where it has nothing to measure it raises
`DoesNotApply`, with the reason.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from undiffuse.core.errors import UserError
from undiffuse.core.notebook import as_html

if TYPE_CHECKING:
    from rich.console import Group

P = TypeVar("P")


class DoesNotApply(UserError):
    """Why a check has nothing to measure here."""


@dataclass(frozen=True)
class Finding:
    """One cause of bad samples.

    Attributes:
        cause: In a few words.
        measured: What the number is.
        number, expected: Its value, and what it should be.
        meaning: In one sentence.
        command: What to type to mend it.
    """

    cause: str
    measured: str
    number: float
    expected: str
    meaning: str
    command: str


class Check(NamedTuple, Generic[P]):
    """A question by name, and how it is answered."""

    name: str
    find: Callable[[P], list[Finding]]


@dataclass(frozen=True)
class Diagnosis:
    """Findings, root causes first; the names of checks that found nothing; and of those that did not apply, with the
    reason."""

    target: str
    findings: tuple[Finding, ...]
    healthy: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists for ``json.dumps``."""
        findings = [asdict(finding) for finding in self.findings]
        return {"target": self.target, "findings": findings, "healthy": self.healthy, "skipped": dict(self.skipped)}

    def _repr_html_(self) -> str:
        return as_html(self.table())

    def table(self) -> "Group":
        """For rich's ``print``: a line for each finding, then what each means and what mends it."""
        from rich.console import Group
        from rich.table import Table

        said = [f"healthy: {', '.join(self.healthy) or 'nothing'}"]
        if self.skipped:
            said.append("not asked: " + "; ".join(f"{name} ({why})" for name, why in self.skipped))
        if not self.findings:
            return Group(f"{self.target}: nothing found by {len(self.healthy)} checks", *said)
        numbers = Table("found", "measured", "value", "should be")
        for one in self.findings:
            numbers.add_row(one.cause, one.measured, f"{one.number:.3g}", one.expected)
        told = [f"{one.cause}: {one.meaning}\n    {one.command}" for one in self.findings]
        return Group(numbers, *told, *said)


def examined(target: str, examinations: Iterable[tuple[Sequence[Check[Any]], Any]]) -> Diagnosis:
    """All checks of each list, of what stands beside it."""
    findings, healthy, skipped = [], [], []
    for checks, patient in examinations:
        for check in checks:
            try:
                found = check.find(patient)
            except UserError as why:  # does not apply, or cannot be measured
                skipped.append((check.name, str(why)))
                continue
            findings += found
            healthy += [] if found else [check.name]
    return Diagnosis(target, tuple(findings), tuple(healthy), tuple(skipped))
