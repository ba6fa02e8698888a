"""Data as the noise that makes it: `sample` from that noise gives it back, and with another label an edit of it.

kept = invert(run, x, {"label": "7"})
run.sample(len(x), {"label": "3"}, how, start=kept)
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.read import Request
from undiffuse.core.errors import UserError, caution
from undiffuse.core.files import write_atomically
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process import Affine
from undiffuse.run.run import Run
from undiffuse.run.stages import completed
from undiffuse.run.start import Kept, KeptPair
from undiffuse.sampling.invert import inverted
from undiffuse.sampling.sampling import Sampling
from undiffuse.step.bdia import BDIA, taken_back

SAMPLER = "ddim"  # whose steps are taken back
ENDING = ".npz"
NOISE, TIME = "noise", "time"  # in the file; of a second state noise1, time1
Times = tuple[float, ...]


def invert(run: Run, x: Tensor, conditions: Request = None, sampling: Sampling | None = None, refine: int = 0) -> Kept:
    """The noise from which DDIM makes rows x (count, *shape), as the data is stored, under these conditions.

    The steps, the grid and the guidance are those of ``sampling``; see `undiffuse.sampling.invert` for ``refine``.

    Raises UserError if tokens diffuse, for a bridge, for a model of few steps, and for a single step.
    """
    if refine < 0:
        raise UserError(f"refine must be at least 0, not {refine}")

    def back(denoise: Denoise, z: Tensor, times: Times) -> Tensor:
        return inverted(run.denoiser.process.schedule, denoise, z, times, refine)

    noise, times = _taken_back(run, x, conditions, sampling, back, run.codec.latent_shape)
    return Kept(noise, times[0])


def invert_exactly(run: Run, x: Tensor, conditions: Request = None, sampling: Sampling | None = None) -> KeptPair:
    """Two states from which corrected steps of DDIM make rows x (count, *shape), to rounding (`undiffuse.step.bdia`).

    Raises UserError as `invert` does.
    """

    def back(denoise: Denoise, z: Tensor, times: Times) -> Tensor:
        later, before = taken_back(BDIA(run.denoiser.process), denoise, z, times)
        return torch.stack([later, before.x], 1)

    states, times = _taken_back(run, x, conditions, sampling, back, (2, *run.codec.latent_shape))
    later, before = states.unbind(1)
    return KeptPair(Kept(later, times[1]), Kept(before, times[0]))


def _taken_back(
    run: Run,
    x: Tensor,
    conditions: Request,
    sampling: Sampling | None,
    back: Callable[[Denoise, Tensor, Times], Tensor],
    shape: tuple[int, ...],
) -> tuple[Tensor, Times]:
    """What ``back`` makes of rows x, batch by batch, (count, *shape), and the times of the steps."""
    check_invertible(run, "invert")
    if run.is_few_step:
        raise UserError(f"{run.folder}: a model of few steps has no steps to take back; invert with its teacher")
    how = (sampling or run.sampling).override(sampler=SAMPLER)
    plan, wanted = run.plan(how), completed(run, run.conditions(len(x), conditions), len(x), 0, how)
    if len(plan.times) < 3:
        raise UserError("one step, from noise to the data at once, cannot be taken back; give --steps 20 or more")

    def made(rows: range) -> Tensor:
        chosen = None if wanted is None else wanted[rows.start : rows.stop].to(run.device)
        z = run.codec.encode(x[rows.start : rows.stop].to(run.device), SeededNoise(how.seed, rows.start))
        return back(partial(plan.denoise, conditions=chosen), z, plan.times)

    return in_batches(len(x), run.batch, made, torch.zeros(0, *shape)), plan.times


def returned(
    run: Run, kept: Kept | KeptPair, x: Tensor, conditions: Request = None, sampling: Sampling | None = None
) -> float:
    """How far from x the samples of its noise are: the root mean square difference, in the data's own units."""
    back = run.draw(len(x), conditions, sampling, start=kept).x
    return float((back.double() - x.double()).square().mean().sqrt())


def check_invertible(run: Run, what: str) -> None:
    """Raises UserError for a run whose samples are not made of noise continuously; ``what`` is not possible then."""
    process = run.denoiser.process
    if run.is_bridge:
        raise UserError(f"{run.folder}: cannot {what}: a bridge has data at both ends; see undiffuse translate --back")
    if not isinstance(process, Affine):
        raise UserError(f"{run.folder}: cannot {what}: only numbers are made of noise continuously, not tokens")


def write_noise(run: Run, kept: Kept | KeptPair, path: Path) -> None:
    """Write noise, .npz: whole, or not at all."""
    states = [kept] if isinstance(kept, Kept) else [kept.later, kept.before]
    arrays: dict[str, Any] = {f"{NOISE}{k or ''}": state.x.numpy() for k, state in enumerate(states)}
    arrays |= {f"{TIME}{k or ''}": np.array(state.t) for k, state in enumerate(states)}
    write_atomically(path, lambda part: np.savez(part, model=np.array(run.fingerprint), **arrays))


def read_noise(run: Run, path: Path) -> Kept | KeptPair:
    """The noise that `write_noise` wrote. Raises UserError for another file, and for noise of another shape."""
    check_invertible(run, "start from noise")
    try:
        with np.load(path, allow_pickle=False) as found:
            model, several = str(found["model"]), ("", "1") if f"{NOISE}1" in found else ("",)
            states = [Kept(torch.from_numpy(found[f"{NOISE}{k}"]).float(), float(found[f"{TIME}{k}"])) for k in several]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, TypeError, KeyError, OSError, EOFError, AttributeError) as error:
        what = " ".join(str(error).split())[:100]
        raise UserError(f"{path}: not the noise that undiffuse invert writes ({what})") from None
    for noise, t in ((state.x, state.t) for state in states):
        if noise.ndim < 1 or not len(noise) or tuple(noise.shape[1:]) != tuple(run.codec.latent_shape):
            of, wanted = (" x ".join(map(str, shape)) for shape in (noise.shape[1:], run.codec.latent_shape))
            raise UserError(f"{path}: noise of shape {of}, and what diffuses in this run is {wanted}")
        if not (0 < t <= 1 and noise.isfinite().all()):
            raise UserError(f"{path}: not noise: its time is {t:g}, or some of its numbers are missing")
    if model != run.fingerprint:
        caution(f"{path}: is the noise of another model, which makes other data of it")
    return KeptPair(*states) if len(states) > 1 else states[0]
