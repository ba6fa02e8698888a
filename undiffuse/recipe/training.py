"""How a model is trained, and how often it is saved and reported on."""

from dataclasses import dataclass
from typing import Literal

from undiffuse.core.errors import UserError, check_seed
from undiffuse.data.augment import Name
from undiffuse.train.average import power
from undiffuse.train.rate import Decay, rate

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Training:
    """One training of any model.

    Attributes:
        steps, batch: The number of steps, and of samples in each step.
        accumulate: In how many parts a batch is computed, one after the other: less memory, the same gradient.
        recompute: Whether the network's blocks are computed twice: less memory, the same gradient.
        lr, warmup, decay, beta2, weight_decay, clip: AdamW; ``warmup`` in steps, ``clip`` the largest gradient norm.
        averages: Widths of the averages of the weights, as shares of the training; the first is used for sampling.
        condition_dropout: The share of rows that lose all conditions in training, which guidance needs.
        each_dropout: With several conditions, the share of each that is dropped on its own too; needed for sampling
            with only some of the conditions.
        flip: Whether every other picture is mirrored left to right; not for letters.
        augment: What else is done to pictures; see `undiffuse.data.augment`. ``augment_share`` is the share of pictures
            that each is applied to, and ``augment_told`` whether the network is told: then samples do not show it.
        precision: bf16 computes the network in half precision, in training and in sampling.
        compile: Whether the network is compiled (`torch.compile`): it takes a minute first, then steps are faster.
        seed: The seed of everything random in the training.
        patience: After how many reports without a lower held-out loss the training ends; the model is that of the
            lowest.
        save_every, report_every: The number of steps between saves, and between reports.

    Raises:
        UserError: A value out of range.
    """

    steps: int = 10_000
    batch: int = 128
    accumulate: int = 1
    recompute: bool = False
    lr: float = 1e-3
    warmup: int = 100
    decay: Decay = "cosine"
    beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0
    averages: tuple[float, ...] = (0.05, 0.1)
    condition_dropout: float = 0.1
    each_dropout: float = 0.0
    flip: bool = False
    augment: tuple[Name, ...] = ()
    augment_share: float = 0.12
    augment_told: bool = True
    precision: Precision = "fp32"
    compile: bool = False
    seed: int = 0
    patience: int | None = None
    save_every: int = 1000
    report_every: int = 2500

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "save_every", "report_every"):
            self._require(name, "at least 1", getattr(self, name) >= 1)
        self._require("patience", "at least 1, or none", self.patience is None or self.patience >= 1)
        for name in ("lr", "clip"):
            self._require(name, "above 0", getattr(self, name) > 0)
        for name in ("warmup", "weight_decay"):
            self._require(name, "at least 0", getattr(self, name) >= 0)
        check_seed(self.seed)
        for name in ("condition_dropout", "each_dropout", "beta2"):
            self._require(name, "at least 0 and below 1", 0 <= getattr(self, name) < 1)
        self._require("augment_share", "above 0 and at most 1", 0 < self.augment_share <= 1)
        self._require("augment", "each named once", len(set(self.augment)) == len(self.augment))
        self._require("averages", "one or more widths", len(set(self.averages)) == len(self.averages) > 0)
        for width in self.averages:
            power(width)

    def lr_of(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        return self.lr * rate(step, self.steps, self.warmup, self.decay)

    def _require(self, name: str, wanted: str, met: bool) -> None:
        if not met:
            raise UserError(f"{name} must be {wanted}, not {getattr(self, name)}")
