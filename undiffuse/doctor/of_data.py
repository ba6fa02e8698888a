"""Is the data fit to be learned? Questions that need no model."""

from itertools import islice

import torch
from torch import Tensor

from undiffuse.condition.specification import Labels
from undiffuse.data.dataset import form_of
from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.specimen import Specimen

FEWEST = 100  # rows
COPIES = 0.02  # share of rows that are exact copies
CONSTANT = 0.5  # share of the positions of pictures and series; columns may not be constant at all
APART = 1e4  # ratio of deviations of two columns, and of a column's mean to its deviation
ALIKE = 0.05  # share of the variance that is between rows
FAR = (
    1.5,
    5.0,
)  # and over the root of a row's numbers: distance to the nearest row / of the median row from the middle
TOLD = 0.05  # how much of what chance leaves open a neighbour's label tells
LISTED = 5


def too_few(rows: Specimen) -> list[Finding]:
    """Whether there are rows enough to learn more than these rows."""
    count = len(rows.data)
    if count >= FEWEST:
        return []
    said = "so few examples can only be learned by heart; add more"
    return [Finding("too few rows", "training rows", count, f"at least {FEWEST}", said, rows.again)]


def copies(rows: Specimen) -> list[Finding]:
    """Whether rows repeat exactly, as the same photograph under two names does."""
    _ = rows.standard  # of numbers
    x = rows.some.x.contiguous().numpy()
    share = 1 - len({row.tobytes() for row in x}) / len(x)
    if share <= COPIES:
        return []
    said = "what is there several times is drawn, and memorised, that much more often; remove the copies"
    return [Finding("duplicates", "share of rows that are copies", share, f"at most {COPIES:g}", said, rows.again)]


def constant(rows: Specimen) -> list[Finding]:
    """Whether numbers never change."""
    still = rows.z.std(0) == 0
    share = float(still.float().mean())
    by_place = form_of(rows.data.kind).channels
    if share <= (CONSTANT if by_place else 0):
        return []
    which = "" if by_place else f" ({_names(rows, still)})"
    said = f"what never changes{which} is nothing to learn, and costs as much as the rest; remove or crop it"
    expected = f"at most {CONSTANT:g}" if by_place else "0"
    return [Finding("constant numbers", "share that is the same in all rows", share, expected, said, rows.again)]


def scales(rows: Specimen) -> list[Finding]:
    """Whether columns have scales that float32, and distances between rows, can hold together."""
    if form_of(rows.data.kind).channels:
        raise DoesNotApply("a check of columns")
    std, mean = rows.standard.std.flatten(), rows.standard.mean.flatten()
    std, mean = std[rows.z.std(0) > 0], mean[rows.z.std(0) > 0]
    found = []
    if (ratio := float(std.max() / std.min())) > APART:
        said = "distances between rows, by which samples are measured, see the largest column alone; change its unit"
        measured = "largest deviation of a column / smallest"
        found.append(Finding("scales far apart", measured, ratio, f"at most {APART:g}", said, rows.again))
    if (offset := float((mean.abs() / std).max())) > APART:
        said = "float32 holds seven digits, and the mean takes most of them; subtract it first"
        expected = f"at most {APART:g}"
        found.append(Finding("far from zero", "mean of a column / its deviation", offset, expected, said, rows.again))
    return found


def alike(rows: Specimen) -> list[Finding]:
    """Whether rows differ from each other as much as the numbers within a row do."""
    share = float(rows.z.var(0).mean())
    if share >= ALIKE:
        return []
    said = "nearly all of what is seen is the same in every row, and the rest is too faint to be learned"
    measured = "share of the variance that is between rows"
    return [Finding("rows almost all alike", measured, share, f"at least {ALIKE:g}", said, rows.again)]


def outliers(rows: Specimen) -> list[Finding]:
    """Whether rows lie far from all others: damaged, or of another kind."""
    typical = (rows.z - rows.z.median(0).values).norm(dim=1).median()
    far = rows.neighbour[0] / typical.clamp(min=1e-12)
    most = FAR[0] + FAR[1] / rows.z.shape[1] ** 0.5  # where numbers are few, tails reach further
    if not bool((far > most).any()):
        return []
    worst = rows.chosen[far.argsort(descending=True)][: int((far > most).sum())]
    listed = ", ".join(str(int(row) + 1) for row in worst[:LISTED])
    said = f"{len(worst)} of {len(far):,} rows are far from all others (rows {listed}); look at them, and remove them"
    measured = "distance to the nearest row / that of a typical row from the middle"
    return [Finding("outliers", measured, float(far.max()), f"at most {most:.2g}", said, rows.again)]


def noisy_labels(rows: Specimen) -> list[Finding]:
    """Whether rows that are near each other share a label more often than by chance."""
    some = rows.some
    entries = some.conditions.entries if some.conditions is not None else {}
    labels = [(name, *entry) for name, entry in entries.items() if isinstance(some.specifications[name], Labels)]
    if not labels:
        raise DoesNotApply("no labels")
    which = rows.neighbour[1]
    found = []
    for name, values, present in labels:
        both = present & present[which]
        shares = torch.bincount(values[present]).double() / max(1, int(present.sum()))
        chance = float(shares.square().sum())
        if int(both.sum()) < FEWEST or chance > 0.98 or float(shares.max()) * int(present.sum()) < 10:
            continue
        same = float((values == values[which])[both].double().mean())
        told = (same - chance) / (1 - chance)
        if told < max(TOLD, 3 * (chance * (1 - chance) / int(both.sum())) ** 0.5 / (1 - chance)):
            said = f"the data does not show {name!r}, so that asking for it changes nothing; check which row has which"
            expected = f"well above {chance:.2g}"
            found.append(
                Finding("labels are noise", "how often nearest rows share a label", same, expected, said, rows.again)
            )
    return found


def _names(rows: Specimen, chosen: Tensor) -> str:
    names = rows.data.columns or [f"column {k + 1}" for k in range(len(chosen))]
    return ", ".join(islice((name for name, one in zip(names, chosen, strict=True) if one), LISTED))
