"""What the reports of a training say of it, in words: whether more steps would help.

    still learning     the held-out loss fell by more than 1% in the last third of the steps
    converged          it did not
    overfitting        it was least some reports ago, and has risen since, while the training loss fell on
    memorising         samples lie nearer to the training data than held-out data does

Both losses are of the averaged weights, of the same rows with the same noise at every report, so that a small change is
one of the model.
"""

from collections.abc import Mapping, Sequence

Report = Mapping[str, int | float | None]  # the numbers of one line of the log, and its step
Measured = Mapping[str, int | float]

HELD_OUT, TRAINED, NOVELTY = "held-out loss", "loss of training rows", "novelty"
LEARNING = 0.01  # relative fall of the held-out loss over the last third of the steps
NEAR = 0.7  # samples are copies if they are as near as that to the training data, beside held-out rows


def verdict(reports: Sequence[Report]) -> str:
    """One clause for a person; empty where nothing was measured."""
    known = _measured(reports)
    if not known:
        return ""
    now, best = known[-1], known[-1 - waited(known)]
    novelty = now.get(NOVELTY)
    if novelty is not None and novelty < NEAR:
        return f"memorising: samples are {novelty:.2f} times as far from training examples as held-out data is"
    rose, fell = now[HELD_OUT] > (1 + LEARNING) * best[HELD_OUT], now[TRAINED] < best[TRAINED]
    if rose and fell:
        return f"overfitting: the held-out loss was least at step {best['step']:,.0f}"
    before = [report for report in known if 3 * report["step"] <= 2 * now["step"]]
    if not before or now[HELD_OUT] < (1 - LEARNING) * before[-1][HELD_OUT]:
        return "still learning"
    return "converged"


def waited(reports: Sequence[Report]) -> int:
    """How many reports there were since the first with the least held-out loss."""
    losses = [report[HELD_OUT] for report in _measured(reports)]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _measured(reports: Sequence[Report]) -> list[Measured]:
    """Those that have the losses, without what was not finite."""
    numbers = ({name: value for name, value in report.items() if value is not None} for report in reports)
    return [report for report in numbers if {HELD_OUT, TRAINED} <= report.keys()]
