"""Grids: for every count exact length, strictly falling, first and last as promised; the papers' numbers."""

import math

import numpy as np
import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.process import EDM, VP, CosineTable, Flow, Linear, Schedule, ZeroTerminal, ZeroTerminalTable
from undiffuse.process import LogLinear as NoiseLevels
from undiffuse.sampling.grid import (
    GRIDS,
    Karras,
    LogLinearGrid,
    gradient_estimation,
    leading,
    linspace,
    log_snr_uniform,
    quadratic,
    trailing,
    widening,
)

SCHEDULES = {
    "Linear": Linear(),
    "VP": VP(),
    "EDM": EDM(),
    "Flow": Flow(),
    "zero-terminal": ZeroTerminal(VP()),
    "zero-terminal table": ZeroTerminalTable(CosineTable()),
    "small table": Linear(1e-3, 0.2, count=100),
    "little noise": NoiseLevels(sigma_max=0.3),
}


def level(schedule: Schedule, t: float) -> float:
    return math.exp(-0.5 * schedule.at(t).log_snr)


def promised_first(name: str, schedule: Schedule, count: int) -> float:
    total = schedule.steps or 1000
    if name == "leading":
        return (1 + (count - 1) * (total // count)) / total
    if name == "quadratic":
        return (1 + 0.8 * total) / total
    top = {"log-linear": 80.0, "karras": 80.0, "gradient-estimation": 40.0, "log-snr-uniform": 160.0}.get(
        name, min(160.0, max(40.0, 3.0 * count)) if name == "widening" else math.inf
    )
    if level(schedule, 1.0) <= top:
        return 1.0
    t = float(schedule.time(torch.tensor(-2 * math.log(top), dtype=torch.float64)))
    return math.ceil(t * total) / total if name == "gradient-estimation" and schedule.steps else t


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", GRIDS)
def test_every_count(name, schedule):
    highest = min(1000, schedule.steps or 1000) if name == "leading" else 1000
    for count in range(1, highest + 1):
        grid = GRIDS[name](schedule, count)
        times = np.array(grid)
        assert len(grid) == count + 1
        assert (times[1:] < times[:-1]).all(), (count, grid)
        assert grid[-1] == 0.0
        slack = 1 / (schedule.steps or 1e9) if name in ("gradient-estimation", "quadratic") else 1e-9
        first = promised_first(name, schedule, count)
        assert times[0] == pytest.approx(first, abs=slack), count
        assert times[0] == 1 or first < 1, count  # not 1 to rounding, where a schedule may have no data left
        assert all(isinstance(t, float) for t in grid[:2])


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("count", [0, -3, True, 2.0, "7", None])
def test_bad_counts_are_one_line(name, count):
    with pytest.raises(UserError, match=r"^the number of steps must be a whole number, 1 or more, not .*$"):
        GRIDS[name](VP(), count)


@pytest.mark.parametrize("name", ["trailing", "leading", "linspace"])
def test_tables_are_met_at_their_entries(name):
    for count in (1, 3, 7, 50, 61, 333, 999, 1000):
        entries = np.array(GRIDS[name](Linear(), count)) * 1000
        assert np.allclose(entries, entries.round(), atol=1e-9)


@pytest.mark.parametrize("name", ["quadratic", "gradient-estimation"])
def test_tables_are_met_at_their_entries_while_they_are_distinct(name):
    for count in (1, 5, 10, 20):
        entries = np.array(GRIDS[name](Linear(), count)) * 1000
        assert np.allclose(entries, entries.round(), atol=1e-9)
    crowded = np.array(GRIDS[name](Linear(), 500)) * 1000
    assert not np.allclose(crowded, crowded.round(), atol=1e-3)


def test_more_steps_than_a_table_has():
    table = Linear(1e-3, 0.2, count=100)
    assert len(trailing(table, 250)) == 251
    with pytest.raises(UserError, match="leading takes at most 100 steps here, not 250"):
        leading(table, 250)


def test_the_known_grids_in_time():
    """Timestep k of DDPM's code is entry k + 1 here."""

    def entries(grid):
        return [round(1000 * t) for t in grid]

    assert entries(trailing(Linear(), 5)) == [1000, 800, 600, 400, 200, 0]
    assert entries(leading(Linear(), 5)) == [801, 601, 401, 201, 1, 0]
    assert entries(linspace(Linear(), 5)) == [1000, 750, 500, 251, 1, 0]  # numpy's rounding of 250.75 and 500.5
    assert entries(quadratic(Linear(), 5)) == [801, 451, 201, 51, 1, 0]
    assert trailing(VP(), 4) == (1.0, 0.75, 0.5, 0.25, 0.0)


@pytest.mark.parametrize(("count", "printed"), [(5, ".0848"), (10, ".0582"), (20, ".0416"), (50, ".0276")])
def test_gradient_estimation_ends_where_the_paper_does(count, printed):
    """The level that is rounded up: seen on the schedule's continuous twin, where nothing is rounded."""
    end = math.sqrt(level(Linear(), 1 / 1000) * level(Linear(), 1 / count))
    assert f"{end:.4f}".removeprefix("0") == printed
    last = gradient_estimation(Linear(), count)[-2]
    assert level(Linear(), last) >= end > level(Linear(), last - 1 / 1000)


@pytest.mark.parametrize(
    ("count", "timesteps"),
    [(5, [853, 652, 380, 116, 22]), (10, [853, 765, 665, 549, 415, 270, 148, 73, 33, 14])],
)
def test_gradient_estimation_visits_the_papers_timesteps(count, timesteps):
    """The paper's last, timestep 0, is sigma = .01; ours goes on to the data."""
    assert [round(1000 * t) - 1 for t in gradient_estimation(Linear(), count)[:-1]] == timesteps


def test_karras_is_its_formula():
    sigmas = [level(EDM(), t) for t in Karras()(EDM(), 18)[:-1]]
    expected = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    assert sigmas == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", [VP(), Linear(), EDM(), Flow()], ids=lambda s: type(s).__name__)
def test_log_grids_are_even_in_log_snr(schedule):
    for grid, low in ((LogLinearGrid(), 0.01), (log_snr_uniform, 1.5 * 40**-1.5), (widening, 3.3 * 40**-2)):
        log_snr = np.array([schedule.at(t).log_snr for t in grid(schedule, 40)[:-1]])
        assert np.ptp(np.diff(log_snr)) < 1e-6
        assert log_snr[-1] == pytest.approx(-2 * math.log(low))


def test_levels_that_cannot_be():
    with pytest.raises(UserError, match="0 < sigma_min < sigma_max"):
        Karras(sigma_min=100.0)(EDM(), 5)
    with pytest.raises(UserError, match="0 < sigma_min < sigma_max"):
        LogLinearGrid(sigma_min=0.0)(EDM(), 5)
