"""Samples of one data set taken across a bridge to the other, or back."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from undiffuse.condition.read import Request
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.denoiser.bridge import Backwards
from undiffuse.run.run import Run
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.sampling import Sampling


def translate(
    run: Run, x: Tensor, back: bool = False, sampling: Sampling | None = None, conditions: Request = None
) -> Tensor:
    """Rows x (count, *shape) of the data that a bridge starts from, as rows of the data that it makes.

    With ``back``, rows of what it makes as rows of what it starts from. Both are as the data is stored, on the CPU.

    ``conditions`` that go across say what is true of the rows, as `Run.conditions` reads them; left out, they are
    absent.

    Raises UserError for a run that is no bridge, for rows of another shape, for conditions that do not fit, and for the
    way back of a bridge that is told where it starts.
    """
    require_bridge(run)
    if tuple(x.shape[1:]) != run.shape:
        of, wanted = (" x ".join(map(str, shape)) for shape in (x.shape[1:], run.shape))
        raise UserError(f"rows of shape {of}, and this run translates {wanted}")
    crossing = replace(run, denoiser=Backwards(run.denoiser)) if back else run
    said = run.conditions(len(x), conditions or dict.fromkeys(run.specifications, "none")) if len(x) else None
    how = sampling or run.sampling
    plan, codec = crossing.plan(how), run.codec
    source, target = (codec, codec.of_start()) if back else (codec.of_start(), codec)

    def made(rows: range) -> Tensor:
        z = source.encode(x[rows.start : rows.stop].to(run.device))
        true = None if said is None else said[rows.start : rows.stop].to(run.device)
        denoise = partial(plan.denoise, conditions=run.denoiser.told(z, true))
        states = trajectory(plan.step, denoise, z, plan.times, SeededNoise(how.seed, rows.start))
        return target.decode(last(states))

    return in_batches(len(x), run.batch, made, target.decode(torch.zeros(0, *run.shape, device=run.device)))


def require_bridge(run: Run) -> None:
    """Raises UserError for a run that is no bridge."""
    if not run.is_bridge:
        bridge = "a bridge is trained between two data sets: undiffuse train A --target B"
        raise UserError(f"{run.folder}: makes {run.kind} from noise, and translates nothing; {bridge}")
