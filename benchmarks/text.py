"""Characters several ways, at equal size and time: python -m benchmarks.text [--minutes 15]

Trains the transformer of the recipe `shakespeare`, on the same pieces of the same text, for so many minutes each: as it
is, by masks; by masks within blocks of 4, 8 or 16 characters, with all layers for noisy and clean tokens, or with half
of them for clean ones alone (`readers`); by multinomial diffusion (any character for a lost one); and one after the
other, as language models are. Prints bits a character of the held-out text, in pieces of 128: by the
bound for diffusion, which is above what it is worth, and exactly for the last. Minutes are of processor time, so that a
busy machine is fair to all.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from benchmarks.pace import pace
from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.noise import Stream
from undiffuse.data.dataset import Dataset
from undiffuse.evaluate.bits import summary, token_bits
from undiffuse.kind.text import read
from undiffuse.loss.categorical import TokenBound
from undiffuse.measure.estimate import Estimate
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import UNIFORM
from undiffuse.process.categorical import TokenShape
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train
from undiffuse.train.trainer import Trainer


class NextToken(nn.Module):
    """objective(x) -> -log p(x), in nats a token: each by those before it, the first by a state of its own."""

    def __init__(self, design: TokenTransformer, shape: TokenShape, bf16: bool) -> None:
        super().__init__()
        self.model, self.bf16 = design.build(shape, shape.classes + 1, Widths()), bf16
        self.noise = Stream()

    def forward(self, x: Tensor, conditions: None = None) -> Tensor:
        """The mean over x (batch, length)."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.nats(x).mean()

    def nats(self, x: Tensor) -> Tensor:
        """(batch, length)."""
        before = F.pad(x.long()[:, :-1], (1, 0), value=self.model.classes)
        logits = self.model(before, Routes())
        return F.cross_entropy(logits.float().mT, x.long(), reduction="none")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--minutes", type=float, default=15.0)
    words.add_argument(
        "--only", nargs="*", default=["masked", "blocks-16", "blocks-4", "readers-4", "multinomial", "autoregressive"]
    )
    words.add_argument("--out", type=Path, default=Path("runs/text-study"), help="for runs")
    words.add_argument("--threads", type=int, default=1)
    options = words.parse_args()
    torch.set_num_threads(options.threads)
    masked = RECIPES["shakespeare"]()
    assert isinstance(masked.model.net, TokenTransformer)
    told = replace(
        masked.model.net, time=True, width=160, heads=5
    )  # how much is lost is told: as many weights, but narrower
    multinomial = masked.changed(kernel=UNIFORM, leave_one_out=True, loss=TokenBound(), net=told, sampler="ancestral")
    recipes = {"masked": masked, "multinomial": multinomial}
    for block in (4, 8, 16):
        recipes[f"blocks-{block}"] = masked.override("net.block", str(block))
        recipes[f"readers-{block}"] = recipes[f"blocks-{block}"].override(
            "net.readers", str(masked.model.net.depth // 2)
        )
    print(f"{'':16} {'bits a character':>18} {'parameters':>11} {'steps':>7} {'seconds':>8}", flush=True)
    for name in options.only:
        made = diffused(name, recipes[name], options) if name in recipes else in_turn(masked, options.minutes)
        bits, size, steps, seconds = made
        print(f"{name:16} {f'{bits.mean:.3f} ± {bits.error:.3f}':>18} {size:11,} {steps:7,} {seconds:8.0f}", flush=True)


def diffused(name: str, recipe: Recipe, options: argparse.Namespace) -> tuple[Estimate, int, int, float]:
    """Train a recipe; its bits, parameters, steps and seconds; and some of what it writes, in --out."""
    steps = int(60 * options.minutes / pace(Trainer(recipe, recipe.data.open(), Accelerator())))
    lasting = recipe.changed(steps=steps, save_every=steps, report_every=steps)
    start = time.process_time()
    run = train(lasting, options.out / name, quiet=True)
    seconds = time.process_time() - start
    (options.out / f"{name}.txt").write_text(
        "\n---\n".join(read(run.codec.alphabet, x) for x in run.sample(8)), encoding="utf-8"
    )
    size = sum(weight.numel() for weight in run.denoiser.parameters())
    return token_bits(run, run.dataset("test")), size, run.step, seconds


def in_turn(recipe: Recipe, minutes: float) -> tuple[Estimate, int, int, float]:
    """The same network and optimiser, each token by those before it."""
    data, held_out = recipe.data.open(), recipe.data.open("test")
    steps = int(60 * minutes / pace(next_tokens(recipe, data)))
    trainer = next_tokens(recipe.changed(steps=steps), data)
    start = time.process_time()
    while trainer.done < trainer.recipe.training.steps:
        trainer.step()
    seconds = time.process_time() - start
    model = NextToken(replace(recipe.model.net, causal=True), TokenShape(data.shape, data.alphabet.size), False)
    model.model.load_state_dict(trainer.averaged(trainer.tensors()).state_dict())
    with torch.no_grad():
        nats = torch.cat([model.nats(piece).mean(1).double() for piece in held_out.x.split(64)])
    size = sum(weight.numel() for weight in model.parameters())
    return summary(nats / math.log(2)), size, trainer.done, seconds


def next_tokens(recipe: Recipe, data: Dataset) -> Trainer:
    """A trainer of the causal network."""
    torch.manual_seed(recipe.training.seed)
    shape = TokenShape(data.shape, data.alphabet.size)
    objective = NextToken(replace(recipe.model.net, causal=True), shape, recipe.training.precision == "bf16")
    return Trainer(recipe, data, Accelerator(), objective)


if __name__ == "__main__":
    main()
