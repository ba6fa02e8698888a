"""The loss of held-out rows, and of as many training rows: the same rows with the same noise at every report."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from undiffuse.condition.low import diffusing
from undiffuse.core.noise import SeededNoise
from undiffuse.core.shuffled import shuffled
from undiffuse.data.dataset import Dataset
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.evaluate.by_level import error_by_level
from undiffuse.train.objective import Objective
from undiffuse.train.verdict import HELD_OUT, TRAINED

ROWS, BATCH = 256, 64
AT_NOISE = "held-out error at noise "
LEVELS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)  # sigma/alpha, in standard deviations of the data


class HeldOut:
    """held_out(model) -> numbers for the log.

    Args:
        objective: Its codec and its loss.
        train: Rows that are trained on; at most ``ROWS`` are drawn.
        held_out: Rows that are not, as many.
        seed: Of the rows and the noise.
    """

    def __init__(self, objective: Objective, train: Dataset, held_out: Dataset, seed: int) -> None:
        self.objective, self.seed = objective, seed
        self.rows = {TRAINED: _some(train, seed), HELD_OUT: _some(held_out, seed)}

    @torch.no_grad()
    def __call__(self, model: Any) -> dict[str, float]:
        """Both losses; of a model that predicts x_0 also the error of that at each noise level, 1 without a model."""
        device = next(model.parameters()).device
        numbers = {}
        for name, rows in self.rows.items():
            parts = torch.arange(len(rows)).split(BATCH)
            numbers[name] = float(torch.cat([self._losses(model, rows, part, device) for part in parts]).mean())
        if isinstance(model, Denoiser):
            numbers |= self._errors(model, device)
        return numbers

    def _losses(self, model: Any, rows: Dataset, part: Tensor, device: torch.device) -> Tensor:
        noise = SeededNoise(self.seed, int(part[0]))
        x_0, conditions = self._encoded(rows, part, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.objective.bf16):
            losses: Tensor = self.objective.loss(model, x_0, noise, conditions)
        return losses.float().cpu()

    def _errors(self, model: Denoiser, device: torch.device) -> dict[str, float]:
        rows = self.rows[HELD_OUT]
        x_0, conditions = self._encoded(rows, torch.arange(min(BATCH, len(rows))), device)
        log_snrs = [-2 * math.log(level) for level in LEVELS]
        with torch.autocast(device.type, torch.bfloat16, enabled=self.objective.bf16):
            errors = error_by_level(model, model.process, x_0, log_snrs, conditions, self.seed).mean(1)
        shares = (errors / float(x_0.square().mean())).tolist()
        return {f"{AT_NOISE}{level:g}": share for level, share in zip(LEVELS, shares, strict=True)}

    def _encoded(self, rows: Dataset, part: Tensor, device: torch.device) -> tuple[Tensor, Any]:
        noise = SeededNoise(self.seed + 1, int(part[0]))  # of a codec that draws
        conditions = None if rows.conditions is None else rows.conditions[part].to(device)
        if conditions is not None:
            conditions = diffusing(self.objective.specifications, conditions, noise)
        return self.objective.codec.encode(rows.x[part].to(device), noise), conditions


def low_middle_high(numbers: Mapping[str, float | None]) -> str:
    """What a line of the log says of the error at little, some and much noise; empty if it says nothing."""
    found = [(f"{level:g}", numbers.get(f"{AT_NOISE}{level:g}")) for level in (LEVELS[0], LEVELS[2], LEVELS[-1])]
    known = [(level, error) for level, error in found if error is not None]
    errors, levels = " ".join(f"{error:.2g}" for _, error in known), " ".join(level for level, _ in known)
    return f"error {errors} at noise {levels}" if known else ""


def _some(data: Dataset, seed: int) -> Dataset:
    """Some rows, drawn by the seed."""
    return data.take(shuffled(len(data), seed)[:ROWS])
