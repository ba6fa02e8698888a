"""What a training produces on the way: a saved model, and a report on how good it is so far."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from undiffuse.core.files import write_atomically
from undiffuse.data.dataset import Dataset
from undiffuse.draw.pictures import pictures
from undiffuse.loss.loss import Loss
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.folder import save_model
from undiffuse.run.run import Run
from undiffuse.run.shown import PICTURES
from undiffuse.run.stages import told
from undiffuse.train.held_out import HeldOut
from undiffuse.train.log import Log
from undiffuse.train.objective import Objective
from undiffuse.train.report import reporter_of, written
from undiffuse.train.trainer import Trainer
from undiffuse.train.verdict import HELD_OUT, TRAINED, verdict

SHOWN = 32  # pictures, each above what the codec makes of it


class Product(Protocol):
    """Told when it is time, with all tensors of the trainer."""

    def report(self, tensors: dict[str, Tensor], log: Log, seconds: float) -> str:
        """Draw and measure; returns a line for the user."""
        ...

    def save(self, tensors: dict[str, Tensor], seconds: float) -> None:
        """Write the current averaged weights, after so many seconds of training."""
        ...


class Model:
    """A run: its samples, and ``model.safetensors``. The latest picture of them is also written to ``preview``."""

    def __init__(
        self,
        trainer: Trainer,
        recipe: Recipe,
        folder: Path,
        data: Dataset,
        stages: Mapping[str, Run],
        preview: Path | None,
    ) -> None:
        self.trainer, self.recipe, self.folder, self.data, self.stages = trainer, recipe, folder, data, stages
        held_out, seed = told(recipe, stages, "test"), recipe.training.seed
        self._report, self.preview = reporter_of(data, held_out, seed, recipe.model), preview
        measured = isinstance(trainer.objective, Objective) and isinstance(recipe.model.loss, Loss)
        self._losses = HeldOut(trainer.objective, data, held_out, seed) if measured else None

    def report(self, tensors: dict[str, Tensor], log: Log, seconds: float) -> str:
        """Samples beside held-out data, its loss, and what they say of the training."""
        run = self._run(tensors, seconds)
        progress = self._report(run)
        losses = self._losses(run.denoiser) if self._losses else {}
        line = written(run, progress._replace(numbers=progress.numbers | losses), log, self.preview)
        said = verdict(log.lines())
        if losses:
            line += f"; loss {losses[TRAINED]:.4g}, held-out {losses[HELD_OUT]:.4g}"
        return f"{line}: {said}" if said else line

    def save(self, tensors: dict[str, Tensor], seconds: float) -> None:
        """Codec and denoiser."""
        save_model(self._run(tensors, seconds))

    def _run(self, tensors: dict[str, Tensor], seconds: float) -> Run:
        return Run(
            self.folder,
            self.recipe,
            self.trainer.averaged(tensors),
            self.trainer.objective.codec,
            self.recipe.specifications(self.data.specifications),
            self.data.columns,
            self.trainer.done,
            seconds,
            stages=self.stages,
        )


class Coded:
    """A codec: held-out data after encoding and decoding, and its error. The loop saves it when it is trained."""

    def __init__(self, trainer: Trainer, recipe: Recipe, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        held_out = recipe.data.open("test").x
        order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(recipe.training.seed))
        self.held_out = held_out[order[:512]]

    @torch.no_grad()
    def report(self, tensors: dict[str, Tensor], log: Log, seconds: float) -> str:
        """The root mean square error of data that was encoded and decoded, in the data's standard deviations."""
        codec = self.trainer.averaged(tensors)
        x = self.held_out.to(self.trainer.device)
        back = codec.decode(codec.encode(x))
        error = float((codec.pixels.encode(back) - codec.pixels.encode(x)).square().mean().sqrt())
        back = back.cpu()
        log.write(self.trainer.done, {"reconstruction error": error})
        if codec.pixels.quantised:
            image = pictures(torch.stack([self.held_out[:SHOWN], back[:SHOWN]], 1).flatten(0, 1))
            (self.folder / PICTURES).mkdir(exist_ok=True)
            write_atomically(self.folder / PICTURES / f"{self.trainer.done:09d}.png", image.save)
            log.picture(self.trainer.done, "reconstructions", image)
        return f"codec, step {self.trainer.done:,}: reconstruction error {error:.3g} standard deviations"

    def save(self, tensors: dict[str, Tensor], seconds: float) -> None:
        """Saves nothing but the state until training is complete."""
