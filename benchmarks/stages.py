"""Runs of stages, measured: python -m benchmarks.stages --only cascade --cascade RUN, and so on.

cascade    a run of shapes-cascade: facts, captions and textures right in the base's pictures, in the base's enlarged by
           copying pixels, and in the last stage's, by the noise with which the low-resolution picture is given
enlarging  the same last stage, told pictures of the data with fewer pixels: what it loses alone
retrieval  a run of shapes-clip: how many held-out rows find their own among a hundred
unclip     a run of shapes-unclip: the cosine between a picture's vector and the prior's, and facts of what is decoded:
           by diffusion, by regression (one evaluation from noise), from the picture's own vector, from words alone
latent     runs of shapes and of shapes-latent beside each other: facts and captions right

A run that is not given is trained first, as its recipe says. A share is of --count samples; ± is the standard error of
captions, sqrt(p (1 - p) / count), of the samples alone.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import undiffuse
from undiffuse.condition.conditions import Conditions
from undiffuse.data.smaller import averaged
from undiffuse.data.synthetic.shapes.checker import check
from undiffuse.data.synthetic.shapes.scene import TEXTURES
from undiffuse.data.synthetic.shapes.shapes import Question
from undiffuse.draw.pictures import pictures
from undiffuse.evaluate.asked import chosen
from undiffuse.evaluate.retrieval import AMONG, retrieval
from undiffuse.recipes import RECIPES
from undiffuse.recipes.cascade import LOW
from undiffuse.recipes.unclip import EMBEDDING
from undiffuse.run.run import Run
from undiffuse.run.stages import read_off
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import train

GROUPS = ("cascade", "enlarging", "retrieval", "unclip", "latent")
RUNS = {"cascade": "shapes-cascade", "clip": "shapes-clip", "unclip": "shapes-unclip", "latent": "shapes-latent"}
TEXTURED = TEXTURES[1:]


def main() -> None:
    """Parse, train what is not given, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, recipe in {**RUNS, "direct": "shapes"}.items():
        parser.add_argument(f"--{name}", type=Path, help=f"a run of {recipe}; else it is trained")
    parser.add_argument("--count", type=int, default=500, help="samples, for each line")
    parser.add_argument("--low-noise", nargs="+", type=float, default=[0.0, 0.1, 0.2, 0.35, 0.5], metavar="S")
    parser.add_argument("--only", nargs="+", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/stages-study"), help="for runs and sheets")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for group in options.only:
        print(f"\n{group}", flush=True)
        MEASURED[group](options)


def opened(options: argparse.Namespace, name: str) -> Run:
    """A run that is given, or trained."""
    given = getattr(options, name)
    recipe = {**RUNS, "direct": "shapes"}[name]
    return undiffuse.load(given) if given else train(RECIPES[recipe](), options.out / name, quiet=True)


def cascade(options: argparse.Namespace) -> None:
    """What is right below, enlarged, and above."""
    run = opened(options, "cascade")
    asked, captions = questions(run, options)
    low = run.stages[LOW].sample(len(captions), asked, seed=options.seed)
    times = run.shape[-1] // low.shape[-1]
    line(f"base, {low.shape[-1]} pixels", low, captions, options)
    line("base, pixels copied", F.interpolate(low, scale_factor=times, mode="nearest"), captions, options)
    for level in options.low_noise:
        x = run.sample(len(captions), asked, seed=options.seed, low_noise=level)
        line(f"cascade, noise {level:g}", x, captions, options)


def enlarging(options: argparse.Namespace) -> None:
    """What the last stage makes of real pictures with fewer pixels."""
    run = opened(options, "cascade")
    question = unseen(run, options)
    low = averaged(question.x, question.x.shape[-1] // run.stages[LOW].shape[-1])
    line("real, 64 pixels", question.x, question.captions, options)
    entry = run.specifications[LOW].entry(low)
    asked = Conditions({**question.conditions.entries, LOW: entry})
    for level in options.low_noise:
        x = run.sample(len(low), asked, seed=options.seed, low_noise=level)
        line(f"enlarged, noise {level:g}", x, question.captions, options)


def of_clip(options: argparse.Namespace) -> None:
    """Retrieval on the test split."""
    run = opened(options, "clip")
    for name, share in retrieval(run, run.dataset("test"), options.seed).items():
        print(f"own {name} found among {AMONG}: {share:.1%}", flush=True)


def unclip(options: argparse.Namespace) -> None:
    """The prior by diffusion and by regression, and what the decoder makes of its vectors."""
    run = opened(options, "unclip")
    prior, question = run.stages[EMBEDDING], unseen(run, options)
    count, own = len(question.x), read_off(run, question.x)[EMBEDDING]
    vectors = {
        "the picture's own vector": own,
        "prior by diffusion": prior.sample(count, question.conditions, seed=options.seed),
        "prior without guidance": prior.sample(count, question.conditions, seed=options.seed, guidance=1.0),
        "prior by regression": prior.sample(
            count, question.conditions, Sampling("ddim", 1, seed=options.seed), guidance=1.0
        ),
    }
    for name, vector in vectors.items():
        alike, length = F.cosine_similarity(vector, own).mean(), vector.norm(dim=1).mean() / own.norm(dim=1).mean()
        print(f"{name}: cosine to the picture's {alike:.3f}, length {length:.2f} of it", flush=True)
        entry = run.specifications[EMBEDDING].entry(vector)
        asked = Conditions({**question.conditions.entries, EMBEDDING: entry})
        line(f"decoded from {name}", run.sample(count, asked, seed=options.seed), question.captions, options)
        wordless = run.sample(count, asked.without("text"), seed=options.seed)
        line(f"{name}, no caption", wordless, question.captions, options)
    caption = question.conditions.with_absent({EMBEDDING: torch.zeros_like(own[0])})
    alone = replace(run, recipe=replace(run.recipe, stages=()), stages={})  # nothing draws the vector
    line("the caption alone", alone.sample(count, caption, seed=options.seed), question.captions, options)
    several = run.sample(32, embedding=own[:4], seed=options.seed)
    pictures(torch.cat([question.x[:4], several])).save(options.out / "variations.png")


def latent(options: argparse.Namespace) -> None:
    """In pixels and in latents."""
    for name in ("direct", "latent"):
        run = opened(options, name)
        asked, captions = questions(run, options)
        line(name, run.sample(len(captions), asked, seed=options.seed), captions, options)


def unseen(run: Run, options: argparse.Namespace) -> Question:
    """Captions that were not trained on, with the real pictures of them."""
    return chosen(run.recipe.data.questions().sets["unseen captions"], options.count, options.seed)


def questions(run: Run, options: argparse.Namespace) -> tuple[Conditions, Sequence[str]]:
    """What is asked, and in which words."""
    question = unseen(run, options)
    return question.conditions, question.captions


def line(name: str, x: Tensor, captions: Sequence[str], options: argparse.Namespace) -> None:
    """Read, print a line, and save a sheet."""
    found = check(x, captions)
    facts = [holds for one in found for _, holds in one]
    textures = [holds for one in found for fact, holds in one if fact in TEXTURED]
    right = sum(all(holds for _, holds in one) for one in found) / len(found)
    error = math.sqrt(right * (1 - right) / len(found))
    texture = f"{sum(textures) / len(textures):.1%} of {len(textures)}" if textures else "none asked"
    print(
        f"{name:42} facts {sum(facts) / len(facts):.1%}   captions {right:.1%} ± {error:.1%}   textures {texture}",
        flush=True,
    )
    pictures(x[:24], captions=captions[:24], columns=8).save(
        options.out / f"{name}.png".replace(" ", "-").replace(",", "").replace("'", "")
    )


MEASURED = {"cascade": cascade, "enlarging": enlarging, "retrieval": of_clip, "unclip": unclip, "latent": latent}


if __name__ == "__main__":
    main()
