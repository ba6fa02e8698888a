"""One step of training, and everything that it changes.

All that is random in step k is a function of (seed, k): the generators are seeded again for every step, and the rows
come from `Batches`. So the tensors here and the number k are the whole state of a training. Nothing in a step waits for
the device, unless a part of the loss on the CPU learns from it (a distribution of t, a schedule). Losses stay on the
device, in a window, and are read when they are logged.
"""

import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.memory import require
from undiffuse.core.noise import Stream
from undiffuse.data.dataset import Dataset
from undiffuse.denoiser.bridge import BridgeDenoiser
from undiffuse.recipe.recipe import Recipe
from undiffuse.train.average import Average
from undiffuse.train.batches import Batches, BothEnds, key
from undiffuse.train.bridging import Bridging
from undiffuse.train.objective import Autoencoding, Objective, denoising
from undiffuse.train.shard import Sharded, all_whole, requested, rows, whole

if TYPE_CHECKING:
    from accelerate import Accelerator

WINDOW = 50  # steps between two lines of the log


class Trainer:
    """A training after ``done`` steps.

    Attributes:
        done: Steps taken.
        objective: What is minimised, on the device.
        averages: One for every width in the recipe, over the parameters of the objective's model.
        sharded: Whether weights, averages and the optimizer's state are sharded over processes.
        window: (2, WINDOW): the loss and the gradient's norm of the latest steps, step k in column k mod WINDOW.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        accelerator: "Accelerator",
        objective: Objective | Autoencoding | Bridging | None = None,  # the recipe's own, on data that is not encoded
    ) -> None:
        process, processes = accelerator.process_index, accelerator.num_processes
        self.recipe, self.accelerator, self.device, self.done = recipe, accelerator, accelerator.device, 0
        training = recipe.training
        require(training.batch * data.x[0].numel() * 4, f"a batch of {training.batch:,}")
        self._seed(training.seed)
        self.objective: Any = (objective or denoising(recipe, recipe.codec.measure(data), data)).to(self.device)
        self._check_parts(processes)
        self.process, self.processes = process, processes
        self.sharded = processes > 1 and requested()
        self._model: Any = self.objective.model  # of which copies are made
        self._shared: Any = self.objective  # which is called
        if self.sharded:
            self._model = copy.deepcopy(self._model).cpu()  # whole; what is shared out cannot be copied
            self._shared = Sharded(self.objective, accelerator)
        elif processes > 1:
            self._shared = accelerator.prepare_model(self.objective)
        weights = sum(weight.nbytes for weight in self.objective.parameters())
        if self.device.type == "cpu":
            require((3 + len(training.averages)) * weights, "the gradient, optimiser and averages of this network")
        self.learned = [weight for weight in self.objective.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.learned, lr=training.lr, betas=(0.9, training.beta2), weight_decay=training.weight_decay, fused=True
        )
        self.weights = list(self.objective.model.parameters())
        self.averages = [Average(width, self.weights) for width in training.averages]
        batches = BothEnds if isinstance(self._model, BridgeDenoiser) else Batches
        self.batches = batches(data, training.batch, training.seed, self.device, process, processes)
        self.window = torch.zeros(2, WINDOW, device=self.device)

    def step(self) -> None:
        """Take one step."""
        training = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(self.done)
        rows = self.batches(self.done)
        self.optimizer.zero_grad(set_to_none=True)
        loss = sum(self._backward(rows, part) for part in range(training.accumulate))
        norm = torch.nn.utils.clip_grad_norm_(self.learned, training.clip, foreach=True)
        self.optimizer.step()
        self.window[0, self.done % WINDOW], self.window[1, self.done % WINDOW] = loss, whole(norm)
        self.done += 1
        for average in self.averages:
            average.update(self.weights, self.done)

    def _backward(self, rows: tuple[Any, ...], part: int) -> Tensor:
        """Add the gradient of one part of a batch; returns its share of the loss, ().

        A part is drawn as if a process of its own had it: from the noise of the whole batch. So the parts make the
        gradient of the batch.
        """
        parts, training = self.recipe.training.accumulate, self.recipe.training
        self._seed(key(training.seed, self.done))
        self.objective.noise = Stream(None, self.process + part * self.processes, parts * self.processes)
        some = rows if parts == 1 else tuple(None if one is None else one[part::parts] for one in rows)
        loss: Tensor = self._shared(*some) / parts
        loss.backward()
        return loss.detach()

    def _check_parts(self, processes: int) -> None:
        """Raises UserError for a batch that cannot be shared out."""
        training, parts = self.recipe.training, self.recipe.training.accumulate
        over = " and ".join([f"{processes} processes"] * (processes > 1) + [f"{parts} parts"] * (parts > 1))
        if training.batch % (parts * processes):
            raise UserError(f"a batch of {training.batch} does not split evenly over {over}; change --batch")
        if parts > 1 and self.recipe.model.loss.staged:
            raise UserError("this method counts its steps, and takes whole batches; leave --accumulate out")

    def lr(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        return self.recipe.training.lr_of(step)

    def read(self) -> tuple[list[float], list[float]]:
        """Losses and gradient norms since the window began, oldest first; waits for the device.

        Raises:
            UserError: One of them is not finite; the message says when, and what to try.
        """
        count = (self.done - 1) % WINDOW + 1 if self.done else 0
        losses, norms = self.window[:, :count].cpu().tolist()
        for k, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                before = ", ".join(f"{value:.3g}" for value in losses[max(0, k - 3) : k]) or "nothing in this window"
                step = self.done - count + k
                raise UserError(
                    f"diverged at step {step + 1:,}: loss {loss:.3g}, gradient norm {norm:.3g}, "
                    f"learning rate {self.lr(step):.3g}, losses before it {before}; "
                    "try a smaller --lr, a longer --warmup, a smaller --clip, or --precision fp32"
                )
        return losses, norms

    @torch.no_grad()
    def averaged(self, tensors: dict[str, Tensor]) -> Any:
        """A copy of the model with the first averages among ``tensors``: a denoiser to sample, or a codec."""
        model = copy.deepcopy(self._model).to(self.device).eval()
        for name, weight in model.named_parameters():
            weight.copy_(tensors[f"average {self.averages[0].width:g}.{name}"])
        return model

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that a step changes, by name; whole, and not copies.

        If they are sharded, all processes must call this together: the main one gets copies on the CPU, the others
            nothing.
        """
        held = self._held()
        return all_whole(held, self.accelerator.is_main_process) if self.sharded else held

    def _held(self) -> dict[str, Tensor]:
        """All tensors that a step changes; of sharded tensors, this process's part."""
        held = {f"objective.{name}": value for name, value in self.objective.state_dict().items()} | {
            "window": self.window
        }
        for average in self.averages:
            names = (name for name, _ in self.objective.model.named_parameters())
            held |= {f"average {average.width:g}.{name}": t for name, t in zip(names, average.tensors, strict=True)}
        for name, weight in self.objective.named_parameters():
            held |= {f"optimizer.{k}.{name}": value for k, value in self.optimizer.state[weight].items()}
        return held

    @torch.no_grad()
    def restore(self, done: int, tensors: dict[str, Tensor]) -> None:
        """Restore ``done`` steps and the ``tensors()`` of that time.

        Raises:
            UserError: The tensors are of another model.
        """
        if done:
            self._begin_optimizer()
        held = self._held()
        wrong = [name for name in held.keys() | tensors.keys() if not _alike(held.get(name), tensors.get(name))]
        if wrong:
            raise UserError(f"the saved state is of another model: {min(wrong)} does not fit; was the recipe changed?")
        for name, value in held.items():
            value.copy_(rows(tensors[name], value))
        self.done = done

    def _begin_optimizer(self) -> None:
        """Create the optimizer's tensors, as its first step would."""
        for weight in self.learned:
            self.optimizer.state[weight] = {
                "step": torch.zeros((), dtype=torch.float32, device=self.device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    def _seed(self, seed: int) -> None:
        """Seed the generators that this process draws from (`torch.manual_seed` would visit every device)."""
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and one.dtype == other.dtype
