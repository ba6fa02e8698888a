"""A pipeline of diffusers as a run: somebody else's model, under every sampler, grid and guide.

    run = load("stable-diffusion")            a folder with a model_index.json
    run.sample(4, text="a red circle", sampler="dpm++2m", steps=20, guidance=5.0)

It has no data of its own; what measures samples is told which stands for it.
"""

from pathlib import Path

import torch

from undiffuse.codec import Pretrained, Standard
from undiffuse.data.own import Elsewhere
from undiffuse.pipeline.network import PipelineNet
from undiffuse.pipeline.parts import parts_at
from undiffuse.pipeline.read import read
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.run.run import Run

DROPPED = 0.1  # the share of rows without conditions in training: as published, and any share above 0 allows guidance


def of_pipeline(path: Path, device: torch.device) -> Run:
    """The run of a pipeline. Raises UserError as `undiffuse.pipeline.read.read` does."""
    found = read(parts_at(path))
    recipe = Recipe(
        Elsewhere(),
        GaussianDiffusion(
            PipelineNet(str(path)),
            found.denoiser.process.schedule,
            prediction=found.scheduler.prediction,
            learned_variance=found.denoiser.learned_variance,
        ),
        Standard() if found.codec.in_place else Pretrained(str(path)),
        Training(condition_dropout=DROPPED if found.denoiser.told.droppable else 0.0),
        found.sampling,
    )
    run = Run(path, recipe, found.denoiser, found.codec, found.specifications)
    run.module.to(device).eval().requires_grad_(False)
    return run
