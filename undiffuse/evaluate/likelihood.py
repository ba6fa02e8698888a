"""The likelihood of held-out data under a run: by the bound, or exactly by the probability flow.

    tokens      bits a token, by the bound                                    (`bits`); of a vocabulary, of its words
    pictures    bits a dimension of their grey levels, by the bound; of dithered ones, by the flow      (`nats`)
    points      nats a point, by either

A latent has a likelihood too, but it is not that of the picture: this also needs the decoder's density of the picture
given the latent, and a plain autoencoder has none.
"""

import math
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undiffuse.core.errors import UserError, check_seed, usage
from undiffuse.data.dataset import Dataset
from undiffuse.data.ready import Toy
from undiffuse.data.synthetic.densities import DENSITIES
from undiffuse.evaluate.bits import summary, token_bits
from undiffuse.evaluate.nats import best_end, bound_nats, codec_of, flow_nats
from undiffuse.measure.estimate import Estimate
from undiffuse.run.run import Run
from undiffuse.sampling.grid import MOST
from undiffuse.theory.likelihood import bits_per_dim

if TYPE_CHECKING:
    from rich.console import Group

FEW = 16  # numbers a row, up to which rows are cheap, and the flow's divergence is exact unless told otherwise
ROWS, FLOW_ROWS, CHOOSING = (256, 4096), (32, 1024), (64, 1024)  # of many numbers, and of few; CHOOSING: training rows
DRAWS, TOKEN_DRAWS = 16, 8  # noise levels a row
PROBES = 1  # beyond it; the probe's own noise is part of the standard error
TOLERANCE = 1e-4

Protocol = dict[str, int | float | str | None]


@dataclass(frozen=True)
class Likelihood:
    """The mean cost of a row, in ``unit``; the ``floor`` is the entropy of these rows, nan if unknown."""

    unit: str
    cost: Estimate
    floor: float
    protocol: Protocol

    def to_json(self) -> dict[str, Any]:
        """A plain dict for ``json.dumps``; a floor that is not known is null."""
        floor = None if math.isnan(self.floor) else self.floor
        mean, error, _ = self.cost
        return {"unit": self.unit, "value": mean, "error": error, "floor": floor, "protocol": self.protocol}

    def table(self) -> "Group":
        """For rich's ``print``: the number, and how it was measured."""
        from rich.console import Group
        from rich.table import Column, Table

        names = ("value", "standard error", "floor")
        numbers = Table("likelihood", *(Column(name, justify="right") for name in names))
        floor = "-" if math.isnan(self.floor) else f"{self.floor:.4f}"
        numbers.add_row(self.unit, f"{self.cost.mean:.4f}", f"{self.cost.error:.2g}", floor)
        how = ", ".join(f"{key} {value}" for key, value in self.protocol.items() if value is not None)
        return Group(numbers, how)


def likelihood(
    run: Run,
    count: int | None = None,
    seed: int = 0,
    split: str = "test",
    flow: bool = False,
    exact: bool = False,
    steps: int | None = None,
    item: str = "point",
) -> Likelihood:
    """The likelihood of ``count`` rows of the data, chosen by ``seed``, given their labels; by the bound or by the
    ``flow``.

    By default the bound has infinitely many steps (with a kernel other than the mask, as many as in training). With
    ``steps`` it has that many, equal in time, and bounds the likelihood of ancestral sampling with them. The flow's
    divergence is exact for rows of up to FEW numbers, else estimated with random probes. ``exact`` asks for the exact
    one, at the cost of one derivative for each number.

    Raises UserError for runs that have no likelihood of the data (see `undiffuse.evaluate.nats.codec_of`), fewer than 2
    rows, steps below 1 or of the flow, or where the data is gone.
    """
    if run.is_classifier:
        raise UserError("this run is a classifier: it tells labels, and has no likelihood of the data")
    if not run.recipe.samples:
        raise UserError("this run tells which texts and pictures belong together, and has no likelihood of the data")
    if run.is_few_step:
        raise UserError("a model of few steps says where the flow ends, not how likely that is; ask its teacher")
    quantised = not run.is_of_tokens and codec_of(run).quantised
    if run.is_of_tokens and flow:
        raise UserError("tokens have no probability flow; leave --flow out for the bound")
    _check_steps(steps, flow)
    check_seed(seed)
    data = _rows(run, split, _count(run, count, flow), seed)
    by = "the flow" if flow else f"the bound of {steps:,} steps" if steps else "the bound"
    how: Protocol = {"by": by, "rows": len(data), "split": split, "seed": seed}
    if run.is_of_tokens:
        cost, coded = token_bits(run, data, TOKEN_DRAWS, seed, steps), run.codec.encoded_once
        how |= {"noise levels a row": TOKEN_DRAWS, "of": "the vocabulary's tokens, not of pixels" if coded else None}
        return Likelihood("bits a token", cost, nan if coded else _floor(run, data), how)
    nats, details = _by_flow(run, data, seed, exact) if flow else _by_bound(run, data, seed, steps)
    if not quantised:
        return Likelihood(f"nats a {item}", summary(nats), _floor(run, data), how | details)
    bits = summary(bits_per_dim(nats, data.x[0].numel()))
    return Likelihood(
        "bits a dimension", bits, nan, how | details | {"of": "dithered pictures" if flow else "pictures"}
    )


def _by_bound(run: Run, data: Dataset, seed: int, steps: int | None) -> tuple[Tensor, Protocol]:
    end = best_end(run, _rows(run, "train", _usual(CHOOSING, run), seed), DRAWS, seed, steps)
    ended = f"{end:.1f}, the best on {_usual(CHOOSING, run)} training rows"
    return bound_nats(run, data, end, DRAWS, seed, steps), {"noise levels a row": DRAWS, "ends at log-SNR": ended}


def _by_flow(run: Run, data: Dataset, seed: int, exact: bool) -> tuple[Tensor, Protocol]:
    probes = None if exact or data.x[0].numel() <= FEW else PROBES
    divergence = "exact" if probes is None else f"by {probes} random probe a row"
    return flow_nats(run, data, probes, TOLERANCE, seed), {"tolerance": TOLERANCE, "divergence": divergence}


def _rows(run: Run, split: str, count: int, seed: int) -> Dataset:
    """At most ``count`` rows of the data, drawn by ``seed``."""
    data = run.dataset(split)
    return data.take(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count])


@usage()
def _check_steps(steps: int | None, flow: bool) -> None:
    if steps is not None and flow:
        raise UserError("the flow takes as many steps as its tolerance needs; leave --steps out")
    if steps is not None and steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    if steps is not None and steps > MOST:
        raise UserError(f"steps must be at most {MOST:,}, not {steps:,}")


@usage()
def _count(run: Run, count: int | None, flow: bool) -> int:
    if count is not None and count < 2:
        raise UserError(f"count must be at least 2, not {count}: an error bar needs two rows")
    return count or _usual(FLOW_ROWS if flow else ROWS, run)


def _usual(counts: tuple[int, int], run: Run) -> int:
    """The one of two counts, for rows of many numbers or of few, that fits this run's rows."""
    return counts[math.prod(run.shape) <= FEW]


def _floor(run: Run, data: Dataset) -> float:
    """The entropy, if it is known: exact for these points, a mean for each token; else nan."""
    source = run.recipe.data
    if isinstance(source, Toy) and source.name in DENSITIES:
        return -float(DENSITIES[source.name].log_density(data.x.double()).mean())
    entropy = getattr(source, "entropy", None)
    return entropy() / math.log(2) / data.x[0].numel() if entropy else nan
