"""A small classifier of the data at hand: does a sample show the label that it was given?

Its accuracy on held-out data says how far to trust it. Its last hidden layer gives features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undiffuse.core.errors import UserError
from undiffuse.core.half import half_is_fast
from undiffuse.measure.rows import rows

WIDTH = 64  # features
STEPS = (800, 1800)  # of training, at least and at most
CHUNK = 2048  # rows judged at once


@dataclass(frozen=True)
class Judge:
    """A trained classifier of rows of one ``shape``: points ``(d,)`` or pictures ``(channels, height, width)``."""

    network: nn.Sequential  # the last layer maps features to classes
    shape: tuple[int, ...]
    mean: float
    std: float
    classes: Tensor  # (classes,): the label that each output stands for
    accuracy: float  # on held-out data

    @classmethod
    def train(
        cls,
        data: Tensor,
        labels: Tensor,
        held_out: Tensor,
        held_out_labels: Tensor,
        *,
        steps: int | None = None,
        batch: int = 128,
        seed: int = 0,
    ) -> "Judge":
        """Learn ``labels (n,)``, any integers, from ``data (n, *shape)``; measure accuracy on the held-out rows.

        Data may be bytes, which are converted batch by batch. ``steps`` default to four epochs, within `STEPS`.

        Raises ``UserError`` if counts or shapes do not match, or there is only one label.
        """
        rows(data, held_out, least=1)
        for count, given in ((len(data), labels), (len(held_out), held_out_labels)):
            if given.shape != (count,):
                raise UserError(f"{count} rows need labels of shape ({count},), not {tuple(given.shape)}")
        classes, targets = labels.cpu().unique(return_inverse=True)
        if len(classes) < 2:
            raise UserError(f"a judge needs at least two different labels; all are {int(classes[0])}")
        steps = min(max(4 * len(data) // batch, STEPS[0]), STEPS[1]) if steps is None else steps
        some = data[:: max(1, len(data) // 10_000)].float()
        std = float(some.std()) or 1.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(tuple(data.shape[1:]), len(classes)).to(data.device)
        judge = cls(network, tuple(data.shape[1:]), float(some.mean()), std, classes, accuracy=float("nan"))
        judge._fit(data, targets.to(data.device), steps, batch, seed)
        accuracy = float((judge.predict(held_out) == held_out_labels.cpu()).double().mean())
        return cls(network, judge.shape, judge.mean, judge.std, classes, accuracy)

    def predict(self, x: Tensor) -> Tensor:
        """The label of each of ``x (n, *shape)``: ``(n,)``, on the CPU."""
        return self.classes[self._run(self.network, x).argmax(1).cpu()]

    def probabilities(self, x: Tensor) -> Tensor:
        """The probability of each label given ``x (n, *shape)``: ``(n, classes)``."""
        return self._run(self.network, x).softmax(1)

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer for each of ``x (n, *shape)``: ``(n, WIDTH)``."""
        return self._run(self.network[:-1], x)

    def to(self, device: torch.device) -> "Judge":
        """The same judge on a device."""
        self.network.to(device)
        return self

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors, to be stored with safetensors."""
        facts = {
            "shape": torch.tensor(self.shape),
            "normalise": torch.tensor([self.mean, self.std], dtype=torch.float64),
            "classes": self.classes,
            "accuracy": torch.tensor(self.accuracy, dtype=torch.float64),
        }
        return facts | {f"network.{name}": value for name, value in self.network.state_dict().items()}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> "Judge":
        """The judge whose ``state()`` this is."""
        shape = tuple(state["shape"].tolist())
        network = _network(shape, len(state["classes"])).eval()
        weights = {name: value for name, value in state.items() if name.startswith("network.")}
        network.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()})
        mean, std = state["normalise"].tolist()
        return cls(network, shape, mean, std, state["classes"], float(state["accuracy"]))

    def _fit(self, data: Tensor, targets: Tensor, steps: int, batch: int, seed: int) -> None:
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=3e-3, weight_decay=0.05)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        generator = torch.Generator().manual_seed(seed)
        self.network.train()
        for _ in range(steps):
            chosen = torch.randint(len(data), (batch,), generator=generator).to(data.device)
            outputs = self._outputs(self.network, data[chosen])
            loss = nn.functional.cross_entropy(outputs, targets[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rate.step()
        self.network.eval()

    @torch.no_grad()
    def _run(self, network: nn.Module, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise UserError(f"this judge knows rows of shape {self.shape}, not {tuple(x.shape[1:])}")
        return torch.cat([self._outputs(network, chunk) for chunk in x.split(CHUNK)])

    def _outputs(self, network: nn.Module, x: Tensor) -> Tensor:
        """(n, *shape), bytes or floats, through a network; pictures in bfloat16 where that is fast: precise enough for
        labels."""
        x = (x.to(next(self.network.parameters())) - self.mean) / self.std
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.ndim == 4 and half_is_fast(x.device)):
            return network(x).float()


def _network(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Convolutions for pictures, dense layers for anything else; ``WIDTH`` features before the last layer."""
    if len(shape) == 3:
        body = [
            *_convolved(shape[0], 32),
            *_convolved(32, 32),
            *_convolved(32, 64, stride=2),
            *_convolved(64, 64),
            *_convolved(64, 128, stride=2),
            *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 16, WIDTH), nn.ReLU()),
        ]
    else:
        size = torch.Size(shape).numel()
        body = [nn.Flatten(), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, WIDTH), nn.ReLU()]
    return nn.Sequential(*body, nn.Linear(WIDTH, classes))


def _convolved(wide_in: int, width: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(wide_in, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
